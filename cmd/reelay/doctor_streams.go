package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/layout"
)

// checkJetStream looks at every stream of the contract and its consumers.
func (a *api) checkJetStream(ctx context.Context) []check {
	js, err := jetstream.NewWithAPIPrefix(a.nc, cmp.Or(a.apiPrefix, jetstream.DefaultAPIPrefix))
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
	if limit := account.Limits.MaxStore; limit > 0 && account.Store > uint64(limit)/100*fullAccount {
		checks = append(checks, check{
			levelFail, "jetstream", fmt.Sprintf("%s of the %s that this account may store are used", size(account.Store), size(uint64(limit))),
			"give the account more storage (jetstream max_file in the server's configuration), or remove streams of others: nats stream report",
		})
	}
	for _, need := range layout.All() {
		checks = append(checks, checkStream(ctx, js, need)...)
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

// checkStream looks at a stream, its settings, its room and its consumers.
func checkStream(ctx context.Context, js jetstream.JetStream, need layout.Need) []check {
	stream, err := bounded(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, need.Name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return []check{{levelFail, need.About, "is missing", "start a service, or `reelay up`: it makes the streams. If one runs, its log says why it cannot"}}
	}
	if err != nil {
		return []check{{levelFail, need.About, err.Error(), ""}}
	}
	info := stream.CachedInfo()
	state := check{
		levelOK, need.About,
		fmt.Sprintf("%d messages, %s: %s", info.State.Msgs, size(info.State.Bytes), info.Config.Description), "",
	}
	if need.Name == events.StreamDead && info.State.Msgs > 0 {
		state.level, state.todo = levelWarn, "see what they are: reelay dead ls"
	}
	checks := append([]check{state}, checkSettings(need, info)...)
	checks = append(checks, checkReplicas(info)...)
	if need.Name == events.StreamTasks {
		checks = append(checks, checkClock(info.TimeStamp, time.Now())...)
	}
	return append(checks, checkConsumers(ctx, stream)...)
}

// checkSettings says what of a stream breaks the contract. Services mend by themselves what they can.
func checkSettings(need layout.Need, info *jetstream.StreamInfo) (checks []check) {
	for _, f := range need.Faults(info.Config) {
		c := check{levelFail, need.About, fmt.Sprintf("%s is %s, and %s is needed", f.Setting, f.Is, f.Needed), f.Todo}
		if f.Mendable {
			c.level, c.todo = levelWarn, "a running submitter mends it within a minute; find out who sets it"
		}
		checks = append(checks, c)
	}
	if need.Name != events.StreamTasks {
		return checks
	}
	if world := info.Config.Metadata[events.WorldKey]; world != "" {
		checks = append(checks, check{levelOK, "world", "the task records are of the " + world + " world", ""})
	}
	if mark := info.Config.Metadata[events.RecordsEvictedKey]; mark != "" {
		checks = append(checks, check{
			levelFail, need.About, "it had a limit by which the broker drops task records: " + mark,
			"compare `reelay ls` with the provider's own list, then start a submitter once with --accept-new-store",
		})
	}
	switch percent, warn, full := layout.Room(info); {
	case full:
		checks = append(checks, check{levelFail, need.About, layout.FullError(percent, info.Config.MaxBytes).Error(), ""})
	case warn:
		checks = append(checks, check{
			levelWarn, need.About, fmt.Sprintf("%d %% of max_bytes are used, and nothing new is begun when it is more", percent),
			fmt.Sprintf("nats stream edit %s --max-bytes %d", need.Name, 2*info.Config.MaxBytes),
		})
	}
	return checks
}

// muchSkew is how far the clocks of the broker and of this machine may be apart.
const muchSkew = 5 * time.Second

// checkClock compares the broker's clock with that of this machine.
func checkClock(theirs, ours time.Time) []check {
	if skew := theirs.Sub(ours).Round(time.Second); !theirs.IsZero() && skew.Abs() > muchSkew {
		return []check{{
			levelWarn, "clock", fmt.Sprintf("the broker's clock is %v from that of this machine", skew),
			"set both by NTP (timedatectl, chronyc tracking): deadlines and expiries go by them",
		}}
	}
	return nil
}

// checkConsumers looks at the durable consumers of a stream.
func checkConsumers(ctx context.Context, stream jetstream.Stream) (checks []check) {
	name := stream.CachedInfo().Config.Name
	listCtx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	var durables []string
	consumers := stream.ListConsumers(listCtx)
	for c := range consumers.Info() {
		if c.Config.Durable == "" {
			continue // somebody who watches
		}
		durables = append(durables, c.Config.Durable)
		checks = append(checks, checkConsumer(name, c))
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return append(checks, check{levelFail, "stream " + name, "consumers: " + err.Error(), ""})
	}
	for _, need := range []events.Consumer{
		events.IntakeConsumer(), events.HeartbeatConsumer(), events.AdvisoryConsumer(), events.DeadRequestConsumer(),
	} {
		if need.Stream == name && !slices.Contains(durables, need.Durable) {
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
	if c.Paused {
		return check{
			levelFail, about, fmt.Sprintf("paused for another %v: %s", c.PauseRemaining.Round(time.Second), detail),
			fmt.Sprintf("nats consumer resume %s %s", stream, c.Config.Durable),
		}
	}
	if c.NumPending > muchLag {
		return check{levelWarn, about, detail, "it falls behind: is its service running? " + c.Config.Description}
	}
	if c.NumPending > 0 && c.NumWaiting == 0 && c.NumAckPending == 0 {
		return check{levelWarn, about, detail, "nobody takes them: is its service running? " + c.Config.Description}
	}
	return check{levelOK, about, detail, ""}
}
