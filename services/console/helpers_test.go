package console_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/natsd"
	"reelay/internal/proc"
	"reelay/internal/test/broker"
	"reelay/internal/test/sim"
)

func TestMain(m *testing.M) { sim.Main(m) }

const (
	actorToken  = "actor-token-1234567890"
	readerToken = "reader-token-1234567890"
	users       = `[{"token":"` + actorToken + `","name":"heron","role":"act"},
		{"token":"` + readerToken + `","name":"reader","role":"read"}]`
)

// hostile is a text that would be markup, and a script, wherever it is not escaped.
const hostile = `"><img src=x onerror=alert(1)><script>alert('${1}')</script>{{.}}`

// A fixture is a whole reelay with its console, in a bubble, and a browser of it.
type fixture struct {
	*testing.T
	stack   *allinone.Stack
	network *sim.Network
	client  *client.Client
	browser *http.Client
	url     string
}

// run calls f with a sandbox, whose console has users or lets everybody in.
func run(t *testing.T, signIn bool, f func(e *fixture)) {
	t.Helper()
	broker.Bubble(t, func(t *testing.T) {
		settings := config.Console{ConsoleListen: config.ConsoleListen}
		if signIn {
			settings.ConsoleUsers = filepath.Join(t.TempDir(), "users.json")
			if err := os.WriteFile(settings.ConsoleUsers, []byte(users), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		e := &fixture{T: t, network: &sim.Network{}}
		dir := t.TempDir() // before the stop, so that it goes after it
		p := proc.New(log)
		t.Cleanup(func() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
		transport := &http.Transport{DialContext: e.network.Dial}
		t.Cleanup(transport.CloseIdleConnections)
		var err error
		e.stack, err = allinone.Start(t.Context(), p, allinone.Options{
			Artifacts: config.Artifacts{
				Store: "file://" + t.TempDir(), Listen: config.ArchiverListen, MaxBytes: config.MaxArtifactBytes,
			},
			StoreDir: dir, Sync: natsd.SyncInterval, Providers: config.Resolved{Sandbox: true},
			Speed:           emulator.Speed{Queue: 10 * time.Second, Run: 20 * time.Second, Position: 3},
			SandboxInterval: 2 * time.Second, LeaseTTL: 30 * time.Second, ListenEmulator: e.network.Listen,
			ListenArchiver: e.network.Listen, ListenConsole: e.network.Listen, Dial: e.network.Dial, Transport: transport,
			Console: &settings, Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		e.url = e.stack.ConsoleURL()
		nc, err := e.stack.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		e.client = client.New(nc)
		e.browser = e.newBrowser()
		f(e)
		e.browser.CloseIdleConnections()
		time.Sleep(time.Second)
	})
}

// newBrowser returns a browser without cookies, which follows no redirect.
func (e *fixture) newBrowser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.Fatal(err)
	}
	transport := &http.Transport{DialContext: e.network.Dial}
	e.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// submit hands in a task of which every text is hostile that may be.
func (e *fixture) submit(id, script string) events.Task {
	e.Helper()
	input, err := events.Marshal(map[string]any{"prompt": hostile, "duration": "5", "emulate": rawJSON(script)})
	if err != nil {
		e.Fatal(err)
	}
	t, err := e.client.Submit(e.Context(), "demo", events.Video, events.Request{
		ID: id, Provider: "fal", Model: "fal-ai/kling-video/v3/pro/text-to-video", Input: input, SceneID: hostile, BatchID: "b-1",
		Metadata: map[string]string{"title": hostile},
	})
	if err != nil {
		e.Fatal(err)
	}
	return t
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// do sends a request and reads its answer.
func (e *fixture) do(method, path string, form url.Values, header map[string]string) (*http.Response, string) {
	e.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(e.Context(), method, e.url+path, body)
	if err != nil {
		e.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	res, err := e.browser.Do(r)
	if err != nil {
		e.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		e.Fatal(err)
	}
	return res, string(text)
}

// page opens a page, which must be safe, and returns its text.
func (e *fixture) page(path string) string {
	e.Helper()
	res, text := e.do(http.MethodGet, path, nil, nil)
	if res.StatusCode != http.StatusOK {
		e.Fatalf("%s: %s: %s", path, res.Status, text)
	}
	if got := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self';") {
		e.Errorf("%s: Content-Security-Policy %q", path, got)
	}
	e.safe(path, text)
	return text
}

// safe checks that nothing of a page is markup or a script that the console did not write.
func (e *fixture) safe(path, text string) {
	e.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		e.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			link := a.Key == "src" || a.Key == "href" || a.Key == "action"
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc":
				e.Errorf("%s: <%s> has %s", path, n.Data, a.Key)
			case link && n.Data == "a" && strings.HasPrefix(a.Val, "http"), link && a.Val == "#main":
			case link && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//")):
				e.Errorf("%s: <%s> leads to %s", path, n.Data, a.Val)
			}
		}
		switch n.Data {
		case "script":
			if n.FirstChild != nil || attr(n, "src") != "/static/console.js" {
				e.Errorf("%s: a script that is not the console's", path)
			}
		case "iframe", "object", "embed", "style", "base":
			e.Errorf("%s has a <%s>", path, n.Data)
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// An update is one event of a live page.
type update struct{ kind, id, data string }

// follow opens the live side of a page; lastID is that of a browser that comes back.
func (e *fixture) follow(ctx context.Context, path, lastID string) <-chan update {
	e.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+path, nil)
	if err != nil {
		e.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := e.browser.Do(r)
	if err != nil {
		e.Fatal(err)
	}
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		e.Fatalf("%s: %s, %s", path, res.Status, got)
	}
	out := make(chan update, 1000) // a browser reads on
	go func() {
		defer res.Body.Close()
		defer close(out)
		var u update
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				u.kind = value
			case "id":
				u.id = value
			case "data":
				u.data += value + "\n"
			case "":
				if u.kind != "" {
					select {
					case out <- u:
					case <-ctx.Done():
						return
					}
				}
				u = update{}
			}
		}
	}()
	return out
}

// await returns the first update that holds a text, within d.
func (e *fixture) await(updates <-chan update, text string, d time.Duration) update {
	e.Helper()
	late := time.After(d)
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				e.Fatalf("the stream ended before %q", text)
			}
			if strings.Contains(u.data, text) {
				return u
			}
		case <-late:
			e.Fatalf("no %q within %s", text, d)
		}
	}
}
