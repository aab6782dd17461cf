package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/client"
	"reelay/events/operator"
	"reelay/internal/config"
	"reelay/internal/lanes"
	"reelay/internal/layout"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// doctorCmd checks an installation.
type doctorCmd struct {
	connection `embed:""`
	JSON       bool   `name:"json" help:"Print JSON."`
	Auth       string `help:"Folder of reelay auth: also compares what each service may do with what it needs." placeholder:"DIR"`
	Keys       bool   `help:"Ask the providers, too, whether they take the keys that are set here, where that is free."`
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
	// fullAccount is the percentage of its storage beyond which an account is as good as full.
	fullAccount = 90
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

// MarshalJSON has a check under the names that programs read.
func (c check) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Level  string `json:"level"`
		About  string `json:"about"`
		Detail string `json:"detail"`
		Todo   string `json:"todo,omitempty"`
	}{c.level, c.about, c.detail, c.todo})
}

// Run checks everything that can be checked and prints it. One failed check is a failure.
func (c *doctorCmd) Run(ctx context.Context, e *env) error {
	checks := checkKeys(ctx, c.Keys)
	a, closeConn, err := c.open(e)
	if err != nil {
		checks = append([]check{{levelFail, "nats", err.Error(), ""}}, checks...)
	} else {
		defer closeConn()
		found := []check{
			{levelOK, "nats", "connected to " + a.nc.ConnectedUrlRedacted(), ""},
			checkVersion(a.nc.ConnectedServerVersion()), a.checkBroker(),
		}
		if c.Auth != "" {
			found = append(found, a.checkRights(ctx, c.Auth)...)
		}
		if err := layout.Payload(a.nc.MaxPayload()); err != nil {
			found = append(found, check{levelFail, "nats server", err.Error(), "max_payload: 1MB, and nats-server --signal reload"})
		}
		found = append(found, a.checkJetStream(ctx)...)
		ofLanes, paused := a.checkLanes(ctx)
		found = append(found, ofLanes...)
		found = append(found, a.checkServices(ctx)...)
		found = append(found, a.checkQueue(ctx, paused)...)
		found = append(found, a.checkOutputs(ctx)...)
		found = append(found, a.checkCallbacks(ctx)...)
		found = append(found, a.checkNotify(ctx)...)
		if err := a.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
			found = append(found, check{levelFail, "permissions", err.Error(), "give this NATS user what it needs, or use an operator's"})
		}
		checks = append(found, checks...)
	}
	show := printChecks
	if c.JSON {
		show = func(w io.Writer, checks []check) error { return printJSON(w, checks) }
	}
	if err := show(e.stdout, checks); err != nil {
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

// checkServices asks which services are there and whether every verb of the API is answered.
func (a *api) checkServices(ctx context.Context) []check {
	services, err := a.discover(ctx)
	if err != nil {
		return []check{{levelFail, "services", err.Error(), ""}}
	}
	var checks []check
	var versions []string
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
			versions = append(versions, s.Version)
		}
	}
	slices.Sort(versions)
	if versions = slices.Compact(versions); len(versions) > 1 {
		checks = append(checks, check{
			levelWarn, "services", "builds of different versions run: " + strings.Join(versions, ", "),
			"replace the older ones",
		})
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

// checkedCallbacks is how many of the newest callbacks the doctor looks at, recentCallback how old they may be.
const (
	checkedCallbacks = 100
	recentCallback   = 24 * time.Hour
)

// checkCallbacks shows why callbacks were refused of late.
func (a *api) checkCallbacks(ctx context.Context) []check {
	r, err := bounded(ctx, func(ctx context.Context) (operator.CallbacksReply, error) {
		return a.Callbacks(ctx, operator.StoredRequest{Limit: checkedCallbacks})
	})
	if err != nil {
		return nil // checkServices or checkJetStream has said so
	}
	return refusedCallbacks(r.Callbacks, time.Now())
}

// refusedCallbacks says of all, the newest first, how many were refused and what is to be done.
func refusedCallbacks(all []operator.StoredCallback, now time.Time) (checks []check) {
	reasons := []struct {
		why          events.Unproven
		detail, todo string
	}{
		{
			events.UnprovenClock, "signed over five minutes from the clock of the webhook service",
			"set that machine's clock (timedatectl, chronyc tracking)",
		},
		{
			events.UnprovenContentType, "not sent as plain application/json",
			"see what a proxy before the webhook service makes of Content-Type and Content-Encoding",
		},
		{
			events.UnprovenExpired, "sent after their URL had expired", "ask the provider why it calls back so late",
		},
	}
	for _, reason := range reasons {
		recent := slices.DeleteFunc(slices.Clone(all), func(c operator.StoredCallback) bool {
			return c.Unproven != reason.why || now.Sub(c.Received) > recentCallback
		})
		if len(recent) == 0 {
			continue
		}
		detail := fmt.Sprintf("%d of the last %d were refused, the latest %v ago on lane %s: %s; their tasks were polled",
			len(recent), len(all), now.Sub(recent[0].Received).Round(time.Second), recent[0].Lane, reason.detail)
		checks = append(checks, check{levelWarn, "callbacks", detail, reason.todo})
	}
	return checks
}

// checkKeys says which keys this environment holds, never their value, and if asking, which are taken.
func checkKeys(ctx context.Context, asking bool) []check {
	var checks []check
	for _, p := range registry.All() {
		name := p.KeyEnv
		key, err := config.ProviderKey(p)
		switch {
		case err != nil:
			checks = append(checks, check{levelFail, "key " + name, err.Error(), "correct it, or unset it"})
		case key.Empty() && p.SelfHosted: // most have none
		case key.Empty():
			checks = append(checks,
				check{levelWarn, "key " + name, "not set here", "the services need it to use this provider; the sandbox does not"})
		case asking:
			checks = append(checks, checkKey(ctx, p, key))
		default:
			checks = append(checks, check{levelOK, "key " + name, "set here; the services read their own environment", ""})
		}
	}
	return checks
}

// checkKey asks a provider whether it takes a key.
func checkKey(ctx context.Context, p registry.Provider, key secret.Value) check {
	asked, err := bounded(ctx, func(ctx context.Context) (bool, error) {
		return lanes.CheckKey(ctx, p, key, os.Getenv(p.BaseURL().Env))
	})
	about := "key " + p.KeyEnv
	switch {
	case err != nil:
		return check{levelFail, about, p.Name + " was asked: " + clean(err.Error()), "correct it, or unset it"}
	case !asked:
		return check{levelOK, about, "set here; " + p.Name + " has no free call to ask whether it is taken", ""}
	}
	return check{levelOK, about, "set here, and " + p.Name + " takes it", ""}
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
