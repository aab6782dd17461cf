package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/ffmpeg"
	"reelay/internal/natsd"
	"reelay/internal/proc"
	"reelay/internal/test/broker"
	"reelay/internal/test/sim"
	"reelay/internal/thumbnail"
)

func TestMain(m *testing.M) { sim.Main(m) }

// The tokens of the tests.
const (
	studioToken = "studio-token-1234567890"
	guestToken  = "guest-token-1234567890"
	readerToken = "reader-token-1234567890"
	judgeToken  = "judge-token-1234567890"
)

const tokens = `[
	{"token":"` + studioToken + `","name":"studio","projects":["demo","film"],"roles":["read","generate"]},
	{"token":"` + guestToken + `","name":"guest","projects":["other"],"roles":["read","generate"]},
	{"token":"` + readerToken + `","name":"reader","projects":["demo"],"roles":["read"]},
	{"token":"` + judgeToken + `","name":"judge","projects":["demo"],"roles":["read","resolve"]}
]`

const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// A fixture is a whole reelay with its MCP service, in a bubble, and what is needed to be an agent of it.
type fixture struct {
	*testing.T
	stack   *allinone.Stack
	network *sim.Network
	url     string
	// confirmOver is the setting of stdio, too.
	confirmOver float64
	// blind says that there is no ffmpeg.
	blind atomic.Bool
}

// A shrinker stands for ffmpeg, where there is one.
type shrinker struct{}

func (e *fixture) shrinker() (thumbnail.Tool, error) {
	if e.blind.Load() {
		return nil, ffmpeg.ErrMissing
	}
	return shrinker{}, nil
}

func (shrinker) Preview(_ context.Context, dir, file string, video bool, _ int64) (ffmpeg.Made, error) {
	made := ffmpeg.Made{Name: "made.jpg", ContentType: "image/jpeg"}
	content, err := os.ReadFile(filepath.Join(dir, file))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, made.Name), fmt.Appendf(nil, "of %d bytes, video %t", len(content), video), 0o600)
	}
	return made, err
}

// run calls f with a sandbox whose videos take the time of speed, with tokens. Nothing needs approval.
func run(t *testing.T, speed emulator.Speed, f func(e *fixture)) {
	t.Helper()
	runWith(t, speed, config.MCP{}, f)
}

// runWith is run with settings of the service.
func runWith(t *testing.T, speed emulator.Speed, settings config.MCP, f func(e *fixture)) {
	t.Helper()
	broker.Bubble(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "tokens.json")
		if err := os.WriteFile(file, []byte(tokens), 0o600); err != nil {
			t.Fatal(err)
		}
		settings.MCPListen, settings.MCPTokens = config.MCPListen, file
		log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		e := &fixture{T: t, network: &sim.Network{}, confirmOver: settings.ConfirmOver}
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
			ListenArchiver: e.network.Listen, FindWorker: findCopier, FindThumbnailer: e.shrinker,
			StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Providers: config.Resolved{Sandbox: true}, Speed: speed,
			SandboxInterval: (speed.Queue + speed.Run) / 40, LeaseTTL: 30 * time.Second, ListenEmulator: e.network.Listen, ListenMCP: e.network.Listen, Dial: e.network.Dial,
			Transport: transport, MCP: &settings, Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		e.url = e.stack.MCPURL()
		f(e)
		time.Sleep(time.Second) // net/http takes its time to end a connection that it refused
	})
}

// bearer sends a token with every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// http returns a client that has a token.
func (e *fixture) http(token string) *http.Client {
	transport := &http.Transport{DialContext: e.network.Dial}
	e.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: bearer{token, transport}}
}

// agent connects an agent of the protocol's revision version.
func (e *fixture) agent(token, version string, o *sdk.ClientOptions) *sdk.ClientSession {
	e.Helper()
	return e.connect(version, o, e.http(token))
}

func (e *fixture) connect(version string, o *sdk.ClientOptions, by *http.Client) *sdk.ClientSession {
	e.Helper()
	c := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o)
	session, err := c.Connect(e.Context(), &sdk.StreamableClientTransport{Endpoint: e.url, HTTPClient: by},
		&sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = session.Close() })
	return session
}

// killable connects an agent by HTTP that kill takes away from one moment to the next: its connections break, and no
// further one comes about. Its session is not closed before that: the SDK's Close waits for the answer to a DELETE.
func (e *fixture) killable(version string, o *sdk.ClientOptions) (s *sdk.ClientSession, kill func()) {
	e.Helper()
	var mu sync.Mutex
	var all []net.Conn
	dead := false
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return nil, net.ErrClosed
		}
		c, err := e.network.Dial(ctx, network, address)
		if err == nil {
			all = append(all, c)
		}
		return c, err
	}}
	return e.connect(version, o, &http.Client{Transport: bearer{studioToken, transport}}), func() {
		mu.Lock()
		defer mu.Unlock()
		dead = true
		for _, c := range all {
			_ = c.Close()
		}
	}
}

// fields is a structured answer.
type fields map[string]any

// call calls a tool and returns its structured answer and whether that is an error.
func (e *fixture) call(s *sdk.ClientSession, tool string, args map[string]any) (fields, bool) {
	e.Helper()
	return e.callWith(e.Context(), s, &sdk.CallToolParams{Name: tool, Arguments: args})
}

func (e *fixture) callWith(ctx context.Context, s *sdk.ClientSession, p *sdk.CallToolParams) (fields, bool) {
	e.Helper()
	r, err := s.CallTool(ctx, p)
	if err != nil {
		e.Fatalf("%s: %v", p.Name, err)
	}
	raw, err := json.Marshal(r.StructuredContent)
	if err != nil {
		e.Fatal(err)
	}
	var out fields
	if err := json.Unmarshal(raw, &out); err != nil || out == nil {
		e.Fatalf("%s: structured content %s: %v", p.Name, raw, err)
	}
	return out, r.IsError
}

// ok calls a tool that has to succeed.
func (e *fixture) ok(s *sdk.ClientSession, tool string, args map[string]any) fields {
	e.Helper()
	out, failed := e.call(s, tool, args)
	if failed {
		e.Fatalf("%s: %v", tool, out)
	}
	return out
}

// paid is how many jobs a provider has taken.
func (e *fixture) paid(provider string) int { return len(e.stack.Ledger(provider).Jobs()) }

// job is how long the videos of most tests take: too long for one call.
var job = emulator.Speed{Queue: time.Minute, Run: 5 * time.Minute, Position: 3}
