package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/client"
	"reelay/events/operator"
	"reelay/internal/config"
	"reelay/internal/provider/registry"
)

// doctorCmd checks an installation.
type doctorCmd struct {
	connection `embed:""`
}

const (
	// The oldest NATS server that has what reelay's streams need.
	minServerMajor, minServerMinor = 2, 15
	// doctorTimeout bounds each question to the server.
	doctorTimeout = 5 * time.Second
	// discoveryQuiet is how long services may be silent before discovery ends.
	discoveryQuiet = 300 * time.Millisecond
	// maxServices bounds the answers of one discovery.
	maxServices = 1000
	// muchLag is how many messages may wait for a consumer before it is worth a word.
	muchLag = 100
)

// The levels of a check.
const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelFail = "fail"
)

// A check is one line of the doctor's report.
type check struct {
	level  string
	about  string
	detail string
	// todo says what to do, where something is to be done.
	todo string
}

// Run checks everything that can be checked and prints it. One failed check is a failure.
func (c *doctorCmd) Run(ctx context.Context, e *env) error {
	checks := checkKeys()
	a, closeConn, err := c.open(e)
	if err != nil {
		checks = append([]check{{levelFail, "nats", err.Error(), ""}}, checks...)
	} else {
		defer closeConn()
		found := []check{
			{levelOK, "nats", "connected to " + a.nc.ConnectedUrlRedacted(), ""},
			checkVersion(a.nc.ConnectedServerVersion()),
		}
		found = append(found, a.checkJetStream(ctx)...)
		lanes, paused := a.checkLanes(ctx)
		found = append(found, lanes...)
		found = append(found, a.checkServices(ctx)...)
		found = append(found, a.checkQueue(ctx, paused)...)
		checks = append(found, checks...)
	}
	if err := printChecks(e.stdout, checks); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	if slices.ContainsFunc(checks, func(c check) bool { return c.level == levelFail }) {
		return errFailed
	}
	return nil
}

// printChecks writes one line per check, and below it what to do.
func printChecks(w io.Writer, checks []check) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.level, c.about, clean(c.detail))
		if c.todo != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", c.todo)
		}
	}
	return t.Flush()
}

func checkVersion(version string) check {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return check{levelWarn, "nats server", "version " + version + " cannot be read", ""}
	}
	if major < minServerMajor || major == minServerMajor && minor < minServerMinor {
		return check{
			levelFail, "nats server", "version " + version,
			fmt.Sprintf("upgrade it: %d.%d or newer is needed", minServerMajor, minServerMinor),
		}
	}
	return check{levelOK, "nats server", "version " + version, ""}
}

// checkJetStream looks at every stream of the contract and its consumers.
func (a *api) checkJetStream(ctx context.Context) []check {
	js, err := jetstream.New(a.nc)
	if err != nil {
		return []check{{levelFail, "jetstream", err.Error(), ""}}
	}
	account, err := bounded(ctx, js.AccountInfo)
	if errors.Is(err, context.DeadlineExceeded) {
		return []check{{
			levelFail, "jetstream", err.Error(),
			"a cluster that has lost a server may need some seconds to choose a leader: ask again",
		}}
	}
	if err != nil {
		return []check{{
			levelFail, "jetstream", err.Error(),
			"enable JetStream on the server (jetstream {} in its configuration) and for this account",
		}}
	}
	checks := []check{{
		levelOK, "jetstream", fmt.Sprintf("%d streams, %s stored", account.Streams, size(account.Store)),
		"",
	}}
	for _, s := range events.Streams() {
		checks = append(checks, checkStream(ctx, js, s)...)
	}
	return append(checks, checkDurability(ctx, js)...)
}

// checkDurability says what a power cut would do to the task records. Each of them may stand for money.
func checkDurability(ctx context.Context, js jetstream.JetStream) []check {
	info := func(name string) (*jetstream.StreamInfo, error) {
		s, err := bounded(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
		if err != nil {
			return nil, err
		}
		return s.CachedInfo(), nil
	}
	const about = "durability"
	tasks, err := info(events.StreamTasks)
	if err != nil {
		return nil // checkStream has said so
	}
	if n := tasks.Config.Replicas; n > 1 {
		return []check{{levelOK, about, fmt.Sprintf("the task records are kept by %d servers", n), ""}}
	}
	broker, err := info(events.StreamBroker)
	if err != nil || time.Since(broker.State.LastTime) > events.BrokerFresh {
		return []check{{
			levelWarn, about, "the task records are kept by one server, and it cannot be asked whether it syncs each write",
			"set sync_interval: always in the jetstream block of its configuration, or use three replicas",
		}}
	}
	if sync := broker.Config.Metadata[events.BrokerSyncKey]; sync != events.BrokerSyncAlways {
		return []check{{
			levelWarn, about, "one server, reelay's own, with --sync " + sync + ": a power cut forgets acknowledged writes",
			"run it with --sync always; real providers are not paid otherwise unless --allow-unsynced-spending is given",
		}}
	}
	return []check{{levelOK, about, "one server, reelay's own, which syncs each write", ""}}
}

// checkLanes shows the lanes that are paused, by a person or by limits that cannot be read, and returns which it has
// shown.
func (a *api) checkLanes(ctx context.Context) (checks []check, paused map[string]bool) {
	r, err := bounded(ctx, a.Lanes)
	if errors.Is(err, client.ErrNoService) {
		return nil, nil // checkServices says so
	}
	if err != nil {
		return []check{{levelFail, "lanes", err.Error(), ""}}, nil
	}
	paused = map[string]bool{}
	for _, l := range r.Lanes {
		if l.Pause.Paused {
			arg := l.Lane
			if l.Lane == bucket.AllLanes {
				arg = "--all"
			}
			checks = append(checks,
				check{levelWarn, "lanes", (&bucket.PausedError{Key: l.Lane, Pause: l.Pause}).Error(), "reelay lanes resume " + arg})
			paused[l.Lane] = true
		}
		if l.LimitsError != "" {
			todo := fmt.Sprintf("back to the defaults: nats kv del %s %s", bucket.Lanes, bucket.LimitsKey(l.Lane))
			checks = append(checks, check{levelWarn, "lanes", l.Lane + " is paused: " + limitsError(l), todo})
			paused[l.Lane] = true
		}
	}
	return checks, paused
}

func checkStream(ctx context.Context, js jetstream.JetStream, s events.Stream) []check {
	about := "stream " + s.Name
	stream, err := bounded(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, s.Name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return []check{{levelFail, about, "is missing", "start a service, or `reelay up`: it makes the streams"}}
	}
	if err != nil {
		return []check{{levelFail, about, err.Error(), ""}}
	}
	info := stream.CachedInfo()
	dead := s.Name == events.StreamDead && info.State.Msgs > 0
	state := check{
		levelOK, about,
		fmt.Sprintf("%d messages, %s: %s", info.State.Msgs, size(info.State.Bytes), s.Description), "",
	}
	if dead {
		state.level, state.todo = levelWarn, "see what they are: reelay dead ls"
	}
	checks := append([]check{state}, checkReplicas(info)...)
	listCtx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	var durables []string
	consumers := stream.ListConsumers(listCtx)
	for c := range consumers.Info() {
		if c.Config.Durable == "" {
			continue // somebody who watches
		}
		durables = append(durables, c.Config.Durable)
		checks = append(checks, checkConsumer(s.Name, c))
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return append(checks, check{levelFail, about, "consumers: " + err.Error(), ""})
	}
	for _, need := range []events.Consumer{
		events.IntakeConsumer(), events.HeartbeatConsumer(), events.AdvisoryConsumer(), events.DeadRequestConsumer(),
	} {
		if need.Stream == s.Name && !slices.Contains(durables, need.Durable) {
			checks = append(checks,
				check{levelFail, "consumer " + need.Durable, "is missing (" + need.Description + ")", "start that service"})
		}
	}
	return checks
}

// checkReplicas says what a stream lacks in a cluster; nothing of a single server.
func checkReplicas(info *jetstream.StreamInfo) []check {
	if info.Cluster == nil || info.Cluster.Name == "" {
		return nil
	}
	about := "replicas of " + info.Config.Name
	if info.Config.Replicas == 1 {
		return []check{{
			levelWarn, about, "kept by one server of the cluster, and stands still when that one does",
			"nats stream edit " + info.Config.Name +
				" --replicas 3; give every service REELAY_REPLICAS=3, for the first one makes the streams",
		}}
	}
	var checks []check
	for _, r := range info.Cluster.Replicas {
		switch {
		case r.Offline:
			checks = append(checks, check{levelWarn, about, r.Name + " is offline", "start that server"})
		case !r.Current:
			detail := fmt.Sprintf("%s is %d behind, last seen %v ago", r.Name, r.Lag, r.Active.Round(time.Second))
			checks = append(checks, check{levelWarn, about, detail, "see that this server runs"})
		}
	}
	return checks
}

// checkConsumer says how far a consumer lags. On the poll clock, messages that are not due yet are tasks at the
// provider: no lag.
func checkConsumer(stream string, c *jetstream.ConsumerInfo) check {
	about := fmt.Sprintf("consumer %s/%s", stream, c.Config.Durable)
	detail := fmt.Sprintf("%d waiting, %d in hand, %d delivered again", c.NumPending, c.NumAckPending, c.NumRedelivered)
	if c.NumPending > muchLag {
		return check{levelWarn, about, detail, "it falls behind: is its service running? " + c.Config.Description}
	}
	if c.NumPending > 0 && c.NumWaiting == 0 && c.NumAckPending == 0 {
		return check{levelWarn, about, detail, "nobody takes them: is its service running? " + c.Config.Description}
	}
	return check{levelOK, about, detail, ""}
}

// checkServices asks which services are there and whether every verb of the API is answered.
func (a *api) checkServices(ctx context.Context) []check {
	services, err := a.discover(ctx)
	if err != nil {
		return []check{{levelFail, "services", err.Error(), ""}}
	}
	var checks []check
	answered := map[events.Verb]bool{}
	verbs := operator.Verbs()
	for _, s := range services {
		var subjects []string
		for _, endpoint := range s.Endpoints {
			for _, v := range verbs {
				if prefix := events.APISubject(v); endpoint.Subject == prefix || strings.HasPrefix(endpoint.Subject, prefix+".") {
					answered[v] = true
					subjects = append(subjects, endpoint.Subject)
				}
			}
		}
		if len(subjects) > 0 {
			detail := fmt.Sprintf("version %s, id %s: %s", s.Version, s.ID, strings.Join(subjects, " "))
			checks = append(checks, check{levelOK, "service " + s.Name, detail, ""})
		}
	}
	var missing []string
	for _, v := range verbs {
		if !answered[v] {
			missing = append(missing, events.APISubject(v))
		}
	}
	if len(missing) > 0 {
		return append(checks, check{
			levelFail, "api", "nobody answers " + strings.Join(missing, ", "),
			"start the services, or `reelay up`",
		})
	}
	return append(checks, check{levelOK, "api", fmt.Sprintf("all %d verbs are answered", len(verbs)), ""})
}

// discover collects the micro services that answer until there is quiet.
func (a *api) discover(ctx context.Context) ([]micro.Info, error) {
	subject, err := micro.ControlSubject(micro.InfoVerb, "", "")
	if err != nil {
		return nil, err
	}
	inbox := a.nc.NewRespInbox()
	sub, err := a.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := a.nc.PublishRequest(subject, inbox, nil); err != nil {
		return nil, err
	}
	var services []micro.Info
	for len(services) < maxServices {
		next, cancel := context.WithTimeout(ctx, discoveryQuiet)
		msg, err := sub.NextMsgWithContext(next)
		cancel()
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, err
		}
		var info micro.Info
		if len(msg.Data) > 0 && json.Unmarshal(msg.Data, &info) == nil {
			services = append(services, info)
		}
	}
	slices.SortFunc(services, func(a, b micro.Info) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return services, nil
}

// checkQueue shows the lanes, their depth and what keeps them, but for the pauses that checkLanes has shown.
func (a *api) checkQueue(ctx context.Context, paused map[string]bool) []check {
	r, err := bounded(ctx, func(ctx context.Context) (events.QueueReply, error) { return a.Queue(ctx, "") })
	if errors.Is(err, client.ErrNoService) {
		return nil // checkServices has said so
	}
	if err != nil {
		return []check{{levelFail, "queue", err.Error(), ""}}
	}
	checks := []check{{levelOK, "queue", fmt.Sprintf("%d active of %d kept", r.ActiveCount, r.Total), ""}}
	for _, l := range r.Lanes {
		c := check{
			levelOK, "lane " + l.Lane,
			fmt.Sprintf("%d waiting, %d at %s", l.ByPhase[events.PhaseWaiting], l.AtProvider, l.Provider), "",
		}
		if n := l.ByPhase[events.PhaseParked]; n > 0 {
			c.level, c.todo = levelWarn,
				fmt.Sprintf("%d in doubt need a decision: reelay ls --phase parked --provider %s, then reelay resolve", n,
					l.Provider)
		}
		checks = append(append(checks, c), checkBlocked(l, paused[l.Lane] || paused[bucket.AllLanes], time.Local)...)
	}
	return checks
}

// checkBlocked shows what keeps a lane, if it is more than a limit at work, and more than the pause that was shown.
func checkBlocked(l events.LaneQueue, paused bool, zone *time.Location) (checks []check) {
	for _, b := range l.Blocked {
		shown := paused && (b.Reason == events.BlockedPaused || b.Reason == events.BlockedAccount)
		if !b.Reason.Normal() && !shown {
			checks = append(checks, check{levelWarn, "lane " + l.Lane, describeLaneBlocked(b, zone), wayOut(l.Lane, b.Reason)})
		}
	}
	return checks
}

// checkKeys says which keys this environment holds, never their value.
func checkKeys() []check {
	var checks []check
	for _, p := range registry.All() {
		name := p.KeyEnv
		key, err := config.ProviderKey(p)
		switch {
		case err != nil:
			checks = append(checks, check{levelFail, "key " + name, err.Error(), "correct it, or unset it"})
		case key.Empty():
			checks = append(checks,
				check{levelWarn, "key " + name, "not set here", "the services need it to use this provider; the sandbox does not"})
		default:
			checks = append(checks, check{levelOK, "key " + name, "set here; the services read their own environment", ""})
		}
	}
	return checks
}

// bounded calls f with a time limit.
func bounded[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	return f(ctx)
}

// size writes a number of bytes for people.
func size(n uint64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, exp := float64(n)/unit, 0
	for v >= unit && exp < 3 {
		v /= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[exp])
}
