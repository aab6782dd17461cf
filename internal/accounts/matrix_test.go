package accounts_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/operator"
	"reelay/events/rights"
	"reelay/internal/accounts"
	"reelay/internal/natsd"
)

// A brokerage is a broker with the configuration that is generated for two tenants of each role.
type brokerage struct {
	*testing.T
	server *natsd.Server
	dir    string
}

func start(t *testing.T) *brokerage {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "auth")
	var tenants []accounts.Tenant
	for _, role := range rights.Roles() {
		tenants = append(tenants, accounts.Tenant{Project: "a-" + string(role), Role: role},
			accounts.Tenant{Project: "b-" + string(role), Role: role})
	}
	check(t, accounts.Init(dir, accounts.Server{Listen: "127.0.0.1:4222", StoreDir: dir}, tenants))
	s, err := natsd.Start(natsd.Options{
		StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Config: filepath.Join(dir, accounts.ConfigFile),
		Log: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	t.Cleanup(s.Stop)
	return &brokerage{t, s, dir}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect connects a user.
func (b *brokerage) connect(user string) *nats.Conn {
	b.Helper()
	key, err := nats.NkeyOptionFromSeed(filepath.Join(b.dir, user+".nk"))
	check(b.T, err)
	nc, err := b.server.Connect(user, key, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	check(b.T, err)
	b.Cleanup(nc.Close)
	return nc
}

// denied reports whether the server has refused what was just done with a subject.
func denied(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	check(t, nc.Flush())
	err := nc.LastError()
	return err != nil && strings.Contains(err.Error(), fmt.Sprintf("%q", subject))
}

// concrete returns a subject that a pattern matches.
func concrete(pattern string) string {
	return strings.NewReplacer("*", "x", ">", "x.y").Replace(pattern)
}

func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

func anyMatches(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, subject) })
}

// contract are subjects of everything that anybody may do, and of some that nobody may but the operator.
func contract() []string {
	all := []string{
		"$JS.API.STREAM.DELETE.KV_reelay_tasks", "$JS.API.STREAM.PURGE.KV_reelay_tasks", "$JS.API.STREAM.LIST",
		"$JS.API.STREAM.RESTORE.KV_reelay_tasks", "$JS.API.CONSUMER.DELETE.REELAY_REQUESTS.intake", "$SYS.REQ.SERVER.PING",
		"$JS.API.STREAM.SNAPSHOT.KV_reelay_tasks", "_INBOX.x", "_R_.x", "another.program",
	}
	for _, s := range rights.Services() {
		of := rights.Of(s)
		for _, pattern := range append(of.Publish, of.Subscribe...) {
			all = append(all, concrete(pattern))
		}
	}
	for _, v := range operator.Verbs() {
		for _, project := range []string{"a-tenant", "b-tenant"} {
			all = append(all, events.APISubject(v), events.APISubject(v, project), events.APISubject(v, project, "x"))
		}
	}
	for _, role := range rights.Roles() {
		for _, project := range []string{"a-", "b-"} {
			for _, e := range rights.Exports(project+string(role), rights.Resolver) {
				all = append(all, concrete(e.Subject))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestServicesRights: each service may do what its row says, and nothing else of all that anybody does.
func TestServicesRights(t *testing.T) {
	b := start(t)
	all := contract()
	for _, service := range rights.Services() {
		of := rights.Of(service)
		nc := b.connect(service)
		for _, subject := range all {
			check(t, nc.Publish(subject, nil))
			if got := !denied(t, nc, subject); got != anyMatches(of.Publish, subject) {
				t.Errorf("%s may publish on %s: %v", service, subject, got)
			}
		}
		for _, subject := range append(slices.Clone(all), ">", "reelay.>", "$KV.>", "reelay.api.*.*") {
			sub, err := nc.SubscribeSync(subject)
			check(t, err)
			if got := !denied(t, nc, subject); got != anyMatches(of.Subscribe, subject) {
				t.Errorf("%s may subscribe to %s: %v", service, subject, got)
			}
			_ = sub.Unsubscribe()
		}
		for _, other := range rights.Services() { // the answers to others, and their work
			subject := rights.InboxPrefix(other) + ".x"
			_, err := nc.QueueSubscribeSync(subject, "q")
			check(t, err)
			if got := !denied(t, nc, subject); got != (other == service) {
				t.Errorf("%s may hear answers to %s: %v", service, other, got)
			}
		}
	}
}

// TestTenantsReach: what a tenant publishes comes to reelay's account if its role has it of its project, and nothing
// else does, whatever the answer's subject is; and it hears the events of its project and nothing else.
func TestTenantsReach(t *testing.T) {
	b := start(t)
	all := contract()
	operator := b.connect(accounts.Operator)
	spy, err := operator.SubscribeSync(">")
	check(t, err)
	check(t, spy.SetPendingLimits(-1, -1))
	check(t, operator.Flush())
	// heard are the subjects of what a subscription has from somebody, with those of the answers. The server speaks as well.
	heard := func(nc *nats.Conn, s *nats.Subscription, from string) (subjects, replies []string) {
		check(t, nc.Flush())
		for n, _, _ := s.Pending(); n > 0; n-- {
			m, err := s.NextMsgWithContext(t.Context())
			check(t, err)
			if string(m.Data) == from {
				subjects, replies = append(subjects, m.Subject), append(replies, m.Reply)
			}
		}
		return subjects, replies
	}
	for _, role := range rights.Roles() {
		project := "a-" + string(role)
		tenant := b.connect(project)
		var requests, streams []string
		for _, e := range rights.Exports(project, role) {
			if e.Stream {
				streams = append(streams, e.Subject)
			} else {
				requests = append(requests, e.Subject)
			}
		}
		want := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !anyMatches(requests, s) })
		for _, reply := range []string{"", "$KV.reelay_tasks.b-tenant.x", "reelay.event.b-tenant.x.completed", "reelay.api.lanes-pause"} {
			for _, subject := range all {
				check(t, tenant.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte("tenant")}))
			}
			check(t, tenant.Flush())
			got, replies := heard(operator, spy, "tenant")
			if !slices.Equal(got, want) {
				t.Errorf("%s reaches %v, want %v", role, got, want)
			}
			for _, r := range replies {
				if r != "" && (r == reply || strings.HasPrefix(r, "reelay.") || strings.HasPrefix(r, "$")) {
					t.Errorf("the answer to %s would go to %s", role, r)
				}
			}
		}
		ear, err := tenant.SubscribeSync(">")
		check(t, err)
		check(t, tenant.Flush())
		for _, subject := range all {
			check(t, operator.Publish(subject, []byte("operator")))
		}
		_, _ = heard(operator, spy, "")
		got, _ := heard(tenant, ear, "operator")
		if want := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !anyMatches(streams, s) }); !slices.Equal(got, want) {
			t.Errorf("%s hears %v, want %v", role, got, want)
		}
	}
}

// TestRoles: what a role has is of its own project, and what may pay twice or takes something away is of no usual
// tenant's.
func TestRoles(t *testing.T) {
	for role, never := range map[rights.Role][]string{
		rights.ReadOnly: {
			"reelay.request.a.video", "reelay.command.a.x.cancel", "reelay.command.a.x.resolve", "reelay.api.submit.a.video",
			"reelay.api.cancel.a.x", "reelay.api.resolve.a.x", "reelay.api.erase.a.x", "reelay.api.upload.a",
		},
		rights.Tenant:   {"reelay.command.a.x.resolve", "reelay.api.resolve.a.x"},
		rights.Resolver: {},
	} {
		var have []string
		for _, e := range rights.Exports("a", role) {
			have = append(have, e.Subject)
			if tokens := strings.Split(e.Subject, "."); !slices.Contains(tokens[2:], "a") || slices.Contains(tokens, ">") {
				t.Errorf("%s has %s", role, e.Subject)
			}
		}
		for _, v := range operator.Verbs() {
			never = append(never, events.APISubject(v), events.APISubject(v, "b"), events.APISubject(v, "b", "x"))
		}
		for _, v := range []events.Verb{operator.VerbLanesPause, operator.VerbCapsSet, operator.VerbQuotasSet, operator.VerbDeadReplay} {
			never = append(never, events.APISubject(v, "a"))
		}
		for _, subject := range never {
			if anyMatches(have, subject) {
				t.Errorf("%s has %s", role, subject)
			}
		}
	}
}
