package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"reelay/internal/accounts"
	"reelay/internal/proc"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// syncBuffer is a log that a test reads while connections write to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startServer starts a NATS server that asks for a password on a port of its own, or on port.
func startServer(t *testing.T, port int) *server.Server {
	t.Helper()
	return startServerFor(t, port, "hush")
}

func startServerFor(t *testing.T, port int, password string) *server.Server {
	t.Helper()
	return startServerWith(t, &server.Options{Port: port, Username: "user", Password: password})
}

func startServerWith(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
}

// deadPort returns a port where nobody listens.
func deadPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func serverURL(s *server.Server, userinfo string) string {
	return fmt.Sprintf("nats://%s%s", userinfo, s.Addr())
}

func writeContext(t *testing.T, name, json string) {
	t.Helper()
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !strings.HasPrefix(dir, os.TempDir()) {
		dir = t.TempDir()
		t.Setenv("XDG_CONFIG_HOME", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "nats", "context"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nats", "context", name+".json"), []byte(json), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConnectOnce(t *testing.T) {
	s := startServer(t, server.RANDOM_PORT)
	writeContext(t, "elsewhere", fmt.Sprintf(`{"url":"nats://127.0.0.1:%d","user":"user","password":"hush"}`, deadPort(t)))
	writeContext(t, "there", fmt.Sprintf(`{"url":%q,"user":"user","password":"hush"}`, serverURL(s, "")))
	for _, row := range []struct {
		name string
		nats NATS
	}{
		{"server", NATS{Server: serverURL(s, "user:hush@")}},
		{"second server", NATS{Server: fmt.Sprintf("nats://127.0.0.1:%d, %s", deadPort(t), serverURL(s, "user:hush@"))}},
		{"context", NATS{Context: "there"}},
		{"context with another server", NATS{Context: "elsewhere", Server: serverURL(s, "")}},
	} {
		t.Run(row.name, func(t *testing.T) {
			nc, err := row.nats.ConnectOnce("test", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
		})
	}
}

func TestConnectOnceFails(t *testing.T) {
	s := startServer(t, server.RANDOM_PORT)
	dead := deadPort(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	writeContext(t, "slash", `{"url":"nats://u:5hush/5@127.0.0.1:4222"}`)
	writeContext(t, "hash", `{"url":"nats://u:5#hush@127.0.0.1:4222"}`)
	writeContext(t, "dead", fmt.Sprintf(`{"url":"nats://u:hush@127.0.0.1:%d"}`, dead))

	for _, row := range []struct {
		name string
		nats NATS
		is   error
		want string
	}{
		{
			"nobody listens",
			NATS{Server: fmt.Sprintf("nats://u:hush@127.0.0.1:%d", dead)},
			ErrUnreachable,
			fmt.Sprintf("nats://redacted@127.0.0.1:%d", dead),
		},
		{"hint", NATS{Server: fmt.Sprintf("127.0.0.1:%d", dead)}, ErrUnreachable, "is `reelay up` running?"},
		{"nobody answers", NATS{Server: silent.Addr().String()}, ErrUnreachable, silent.Addr().String()},
		{
			"wrong password",
			NATS{Server: serverURL(s, "user:other-hush@")},
			nats.ErrAuthorization,
			"are --creds, --nkey or --context right?",
		},
		{"context's server is down", NATS{Context: "dead"}, ErrUnreachable, "the servers of context dead"},
		{"a password with a slash", NATS{Context: "slash"}, nil, "--context (NATS_CONTEXT): its URL is not a NATS URL"},
		{"a password with a hash", NATS{Context: "hash"}, nil, "--context (NATS_CONTEXT): its URL is not a NATS URL"},
		{"no such context", NATS{Context: "nowhere"}, nil, "--context (NATS_CONTEXT): "},
		{"no such credentials", NATS{Creds: "/no/such/file"}, os.ErrNotExist, "--creds (NATS_CREDS): "},
	} {
		t.Run(row.name, func(t *testing.T) {
			begin := time.Now()
			_, err := row.nats.ConnectOnce("test", slog.New(slog.DiscardHandler))
			if err == nil || row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %v with %q", err, row.is, row.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells a password: %v", err)
			}
			if took := time.Since(begin); took > connectOnceTimeout+time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestConnectWaits starts the service before its server, as Procfile runners do.
func TestConnectWaits(t *testing.T) {
	port := deadPort(t)
	log := &syncBuffer{}
	nc, err := NATS{Server: fmt.Sprintf("nats://user:hush@127.0.0.1:%d", port)}.Connect("test",
		slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.IsConnected() {
		t.Fatal("connected to nobody")
	}
	changed := nc.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING)
	s := startServer(t, port)
	await(t, changed, nats.CONNECTED)
	s.Shutdown()
	s.WaitForShutdown()
	await(t, changed, nats.RECONNECTING)
	startServer(t, port)
	await(t, changed, nats.CONNECTED)
	nc.Close()
	text := log.String()
	for _, want := range []string{
		"connected to NATS", "lost the connection to NATS",
		fmt.Sprintf("redacted@127.0.0.1:%d", port),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "hush") {
		t.Errorf("the log tells a password:\n%s", text)
	}
}

// TestJetStreamPlace: a context's JetStream is found where the nats CLI finds it, and flags come before the context.
func TestJetStreamPlace(t *testing.T) {
	s := startServer(t, server.RANDOM_PORT)
	url := serverURL(s, "user:hush@")
	writeContext(t, "hub", fmt.Sprintf(`{"url":%q,"jetstream_domain":"hub","inbox_prefix":"_INBOX.me"}`, url))
	writeContext(t, "imported", fmt.Sprintf(`{"url":%q,"jetstream_api_prefix":"js.from.acme"}`, url))
	for _, row := range []struct {
		nats   NATS
		prefix string
	}{
		{NATS{Server: url}, ""},
		{NATS{Context: "hub"}, "$JS.hub.API"},
		{NATS{Context: "imported"}, "js.from.acme"},
		{NATS{Server: url, JSDomain: "leaf"}, "$JS.leaf.API"},
		{NATS{Context: "hub", JSDomain: "leaf"}, "$JS.leaf.API"},
		{NATS{Context: "hub", JSAPIPrefix: "js.here"}, "js.here"},
	} {
		nc, err := row.nats.ConnectOnce("test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if nc.APIPrefix != row.prefix || row.nats.Context == "hub" && !strings.HasPrefix(nc.NewInbox(), "_INBOX.me.") {
			t.Errorf("%+v: prefix %q and inboxes as %s, want %q", row.nats, nc.APIPrefix, nc.NewInbox(), row.prefix)
		}
		nc.Close()
	}
}

// TestRefusedForAWhile: credentials that are refused twice, as while they are being changed, end no connection; and what
// is wrong is an error in the log.
func TestRefusedForAWhile(t *testing.T) {
	s := startServer(t, server.RANDOM_PORT)
	port := s.Addr().(*net.TCPAddr).Port
	refused := make(chan struct{}, 100)
	log := slog.New(slog.NewTextHandler(logFunc(func(line string) {
		if strings.Contains(line, "level=ERROR") && strings.Contains(line, "check the user and password") {
			refused <- struct{}{}
		}
	}), nil))
	nc, err := NATS{Server: serverURL(s, "user:hush@")}.Connect("test", log)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	changed := nc.StatusChanged(nats.CONNECTED)
	s.Shutdown()
	s.WaitForShutdown()
	other := startServerFor(t, port, "another")
	for range 3 {
		select {
		case <-refused:
		case <-time.After(30 * time.Second):
			t.Fatalf("not refused; the connection is %v", nc.Status())
		}
	}
	other.Shutdown()
	other.WaitForShutdown()
	startServer(t, port)
	await(t, changed, nats.CONNECTED)
}

// TestClosedForGood: a process whose connection cannot come back fails.
func TestClosedForGood(t *testing.T) {
	s := startServer(t, server.RANDOM_PORT)
	log := slog.New(slog.DiscardHandler)
	p := proc.New(log)
	nc, err := NATS{Server: serverURL(s, "user:hush@")}.Open(p, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if err := p.Wait(t.Context()); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("%v, want ErrConnectionClosed", err)
	}
	_ = p.Stop()
}

// TestDenied: a process that lacks a permission is not ready: for a while where it was a publish, and until its user may
// more where it was a subscription.
func TestDenied(t *testing.T) {
	s := startServerWith(t, &server.Options{Port: server.RANDOM_PORT, Users: []*server.User{{
		Username: "user", Password: "hush", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Deny: []string{"no.publish"}},
			Subscribe: &server.SubjectPermission{Deny: []string{"no.subscribe"}},
		},
	}}})
	heard := make(chan struct{}, 10)
	log := slog.New(slog.NewTextHandler(logFunc(func(line string) {
		if strings.Contains(line, "lacks a permission") {
			heard <- struct{}{}
		}
	}), nil))
	var d denials
	nc, err := NATS{Server: serverURL(s, "user:hush@")}.connect(d.watch(reports(log)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := d.check(time.Now()); err != nil {
		t.Error(err)
	}
	if err := nc.Publish("no.publish", nil); err != nil {
		t.Fatal(err)
	}
	<-heard
	await := func(want bool, at time.Time) {
		t.Helper()
		for range 1000 { // the log hears of it a moment before
			if err := d.check(at); (err != nil) == want {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Errorf("denied is not %v", want)
	}
	await(true, time.Now())
	await(false, time.Now().Add(deniedFresh+time.Second))
	if _, err := nc.SubscribeSync("no.subscribe"); err != nil {
		t.Fatal(err)
	}
	<-heard
	await(true, time.Now().Add(time.Hour))
}

// A logFunc is called with every line of a log.
type logFunc func(string)

func (f logFunc) Write(line []byte) (int, error) { f(string(line)); return len(line), nil }

// TestPings: a server whose connection nobody closes, because its machine is gone, is left for another one while a task
// can wait.
func TestPings(t *testing.T) {
	const patience = 15 * time.Second
	s := startServer(t, server.RANDOM_PORT)
	writeContext(t, "there", fmt.Sprintf(`{"url":%q,"user":"user","password":"hush"}`, serverURL(s, "")))
	log := slog.New(slog.DiscardHandler)
	for name, connect := range map[string]func() (Conn, error){
		"service": func() (Conn, error) {
			return NATS{Server: serverURL(s, "user:hush@")}.Connect("test", log)
		},
		"service, context": func() (Conn, error) { return NATS{Context: "there"}.Connect("test", log) },
		"command": func() (Conn, error) {
			return NATS{Server: serverURL(s, "user:hush@")}.ConnectOnce("test", log)
		},
	} {
		nc, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		if gone := nc.Opts.PingInterval * time.Duration(nc.Opts.MaxPingsOut+1); gone > patience {
			t.Errorf("%s: a server is given up after %v of silence, want %v", name, gone, patience)
		}
	}
}

func await(t *testing.T, changed <-chan nats.Status, want nats.Status) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case got := <-changed:
			if got == want {
				return
			}
		case <-limit:
			t.Fatalf("never %v", want)
		}
	}
}

// TestKeyOfAnotherBroker: the key of a broker that is no longer there keeps nobody from the server that has its address.
func TestKeyOfAnotherBroker(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	s := startServerWith(t, &server.Options{Port: server.RANDOM_PORT})
	store, log := t.TempDir(), slog.New(slog.DiscardHandler)
	key, err := accounts.KeptKey(store, log)
	if err != nil {
		t.Fatal(err)
	}
	saved := accounts.Context{URL: serverURL(s, ""), NKey: key}
	if _, err := accounts.SaveContext(store, accounts.LiveContext, saved); err != nil {
		t.Fatal(err)
	}
	for name, connect := range map[string]func(string, *slog.Logger) (Conn, error){
		"client": NATS{Server: saved.URL}.ConnectOnce, "service": NATS{Server: saved.URL}.Connect,
	} {
		nc, err := connect("test", log)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !nc.IsConnected() {
			t.Errorf("%s: is not connected", name)
		}
		nc.Close()
	}
}
