package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"text/template"

	"github.com/nats-io/nats.go"

	"reelay/internal/accounts"
	"reelay/internal/allinone"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/natsd"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/version"
)

// upCmd runs the whole stack in one process: the broker, every service and, in the sandbox, the emulated providers.
//
// Without any provider key or lane it runs the sandbox. With a key it talks to the real provider, and spends money. Each of
// the two has a store of its own below --store-dir, kept over a restart.
//
// The webhook service runs in the sandbox, and otherwise with --public-url. Without REELAY_CALLBACK_KEY its key is made
// once and kept in the store.
//
// Outside the sandbox the broker lets in who has the key that is made in the store; the nats CLI has it by the context
// reelay-live.
//
// The console is for people, in a browser. In the sandbox nobody has to sign in; otherwise, without --console-users, one
// token is made and kept in the store.
type upCmd struct {
	Broker    config.Broker    `embed:""`
	Providers config.Providers `embed:""`
	Pipeline  config.Pipeline  `embed:""`
	Webhook   config.Webhook   `embed:""`
	MCP       config.MCP       `embed:""`
	Console   config.Console   `embed:""`
	Artifacts config.Artifacts `embed:""`
	Notify    config.Notify    `embed:""`
	Guard     config.Guard     `embed:""`
	Ops       config.Ops       `embed:""`
}

// Run runs the stack until ctx ends.
func (c *upCmd) Run(ctx context.Context, e *env) error {
	resolved, err := c.Providers.Resolve()
	if err != nil {
		return err
	}
	if !resolved.HasAny() {
		resolved.Sandbox = true
	}
	store := filepath.Join(c.Broker.StoreDir, "live")
	if resolved.Sandbox {
		store = filepath.Join(c.Broker.StoreDir, "sandbox")
	}
	if len(resolved.CallbackKeys) == 0 && (resolved.Sandbox || resolved.PublicURL != "") {
		if resolved.CallbackKeys, err = callbackurl.Kept(filepath.Join(store, callbackurl.KeyFile)); err != nil {
			return err
		}
	}
	if c.Artifacts.Store == "" {
		if c.Artifacts.Store, err = artifactsIn(store); err != nil {
			return err
		}
	}
	if c.Console.ConsoleUsers == "" && !resolved.Sandbox {
		if c.Console.ConsoleUsers, err = config.KeptConsoleUsers(store); err != nil {
			return err
		}
	}
	log := c.Ops.Logger(e.stderr)
	o := allinone.Options{
		StoreDir: store, Listen: c.Broker.Listen, Sync: natsd.Sync(c.Broker.Sync), Providers: resolved, Pipeline: c.Pipeline,
		Webhook: c.Webhook, MCP: &c.MCP, Console: &c.Console, Notify: &c.Notify, Artifacts: c.Artifacts, Guard: c.Guard.WithEpochDir(), Log: log,
	}
	if o.BrokerTLS, err = c.Broker.TLS(log); err != nil {
		return err
	}
	if !resolved.Sandbox { // whoever may publish may spend money
		if o.BrokerKey, err = accounts.KeptKey(store, log); err != nil {
			return err
		}
	}
	log.Info("process starts", "version", version.Get().Version, "revision", version.Get().Revision)
	p := proc.New(log)
	if err = p.Export(ctx, nil); err == nil {
		err = c.serve(ctx, e.stdout, p, o)
	}
	return errors.Join(err, p.Stop())
}

// client is how a client of another process is started: the nats CLI with what it needs to be let in.
func (c *upCmd) client(s *allinone.Stack, o allinone.Options) (string, error) {
	if o.BrokerKey == "" {
		return "nats -s " + s.URL(), nil
	}
	saved, err := c.Broker.Context("reelay up", s.URL(), o.BrokerKey)
	if err != nil {
		return "", err
	}
	as, err := accounts.SaveContext(o.StoreDir, accounts.LiveContext, saved)
	if err != nil && as != "" {
		o.Log.Warn("the context for programs of this machine is in the store only", "error", err)
		err = nil
	}
	return "nats --context " + as, err
}

func (c *upCmd) serve(ctx context.Context, w io.Writer, p *proc.Process, o allinone.Options) error {
	var started atomic.Bool
	p.Check("start", func() error { // what has no part yet has none that is not ready
		if !started.Load() {
			return errors.New("it is starting")
		}
		return nil
	})
	if err := p.ServeOps(c.Ops.OpsListen); err != nil {
		return err
	}
	s, err := allinone.Start(ctx, p, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while starting
		}
		return err
	}
	cli, err := c.client(s, o)
	if err != nil {
		return err
	}
	started.Store(true)
	if err := welcome.Execute(w, welcomeData{
		URL: s.URL(), NATS: cli, Key: o.BrokerKey, Store: o.StoreDir, Artifacts: o.Artifacts.Store, Ops: c.Ops.OpsListen,
		Callbacks: s.CallbackURLs().Public, MCP: s.MCPURL(), Console: s.ConsoleURL(), Users: c.Console.ConsoleUsers,
		Sandbox: o.Providers.Sandbox, Lanes: s.Lanes(), Example: registry.Find(s.Lanes()[0].Provider),
	}); err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return err
	}
	fmt.Fprintln(w, "stopping; waiting tasks stay in the store and go on at the next start")
	return nil
}

// artifactsIn is the URL of the usual store of outputs below a directory.
func artifactsIn(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "artifacts"))
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String(), nil
}

type welcomeData struct {
	// NATS is how a client of the nats CLI begins. Key is the file of the broker's key, empty for none.
	NATS, Key                                                  string
	URL, Store, Artifacts, Ops, Callbacks, MCP, Console, Users string
	Sandbox                                                    bool
	Lanes                                                      []provider.Lane
	// Example is the provider of the example request.
	Example registry.Provider
}

// Free reports whether no lane costs anything.
func (d welcomeData) Free() bool {
	return !slices.ContainsFunc(d.Lanes, func(l provider.Lane) bool { return !l.Free })
}

var welcome = template.Must(template.New("welcome").Parse(`
reelay is up at {{.URL}}
{{- if .Sandbox}}
  SANDBOX: every provider is emulated, no key is used, no money is spent.
{{- else if .Free}}
  OWN SERVERS: requests are sent to servers of your own, no money is spent.
{{- else}}
  LIVE: requests are sent to real providers and cost money.
{{- end}}
  console    {{.Console}} (in a browser{{with .Users}}; sign in with a token of {{.}}{{end}})
  lanes      {{range $i, $a := .Lanes}}{{if $i}}, {{end}}{{$a.Name}}{{if $a.Emulated}} (emulated){{end}}{{end}}
{{- with .Key}}
  key        {{.}} (nobody is let in without; reelay's own commands find it)
{{- end}}
  store      {{.Store}}
  outputs    {{.Artifacts}}
{{- with .Callbacks}}
  callbacks  {{.}}/cb/... (callbacks of providers; see: reelay callbacks ls)
{{- end}}
{{- with .MCP}}
  agents     {{.}} (MCP; claude mcp add --transport http reelay {{.}})
{{- end}}
{{- with .Ops}}
  ops        http://{{.}}/metrics (also /healthz, /readyz)
{{- end}}

  reelay.request.<project>.<task_type>           publish a request
  reelay.event.<project>.<task>.<event>          hear what happens (stream REELAY_EVENTS)
  reelay.api.<verb>.<project>[.<task>]           ask: submit get list queue timeline wait cancel links models quote spend
  reelay.api.lanes, .caps, .dead, .callbacks     ask as an operator; nats micro info reelay shows what is set by which subject
  $KV.reelay_tasks.<project>.<task>              the record (KV bucket reelay_tasks)

Paste into another terminal:
  {{.NATS}} sub 'reelay.event.demo.*.*'
  {{.NATS}} pub -J reelay.request.demo.video '{"id":"kite-1","model":"{{.Example.ExampleModel}}","want":{"prompt":"a kite over dunes"}}'
  {{.NATS}} req reelay.api.wait.demo.kite-1 '{"timeout":"60s"}' --timeout 90s
  {{.NATS}} req reelay.api.queue ''
  {{.NATS}} micro info reelay
Or: reelay ls --all, reelay watch --all, reelay timeline demo.kite-1
Ctrl-C stops it.
`))

// startSandbox starts the whole stack with emulated providers in this process and a store that goes with it.
func startSandbox(ctx context.Context, log *slog.Logger) (*nats.Conn, func(), error) {
	dir, err := os.MkdirTemp("", "reelay-sandbox-")
	if err != nil {
		return nil, nil, err
	}
	p := proc.New(log)
	p.Defer("store", func() error { return os.RemoveAll(dir) })
	stop := func() {
		if err := p.Stop(); err != nil {
			log.Warn("the sandbox did not stop cleanly", "error", err)
		}
	}
	if err := p.Export(ctx, nil); err != nil {
		stop()
		return nil, nil, err
	}
	keys, err := callbackurl.Kept(filepath.Join(dir, callbackurl.KeyFile))
	if err != nil {
		stop()
		return nil, nil, err
	}
	artifacts, err := artifactsIn(dir)
	if err != nil {
		stop()
		return nil, nil, err
	}
	// Nothing in it outlives the process, so no write has to wait for the disk.
	s, err := allinone.Start(ctx, p, allinone.Options{
		StoreDir: dir, Sync: natsd.SyncInterval, Providers: config.Resolved{Sandbox: true, CallbackKeys: keys},
		Artifacts: config.Artifacts{Store: artifacts, Listen: config.ArchiverListen, MaxBytes: config.MaxArtifactBytes},
		Log:       log,
	})
	if err != nil {
		stop()
		return nil, nil, err
	}
	nc, err := s.Connect("reelay run")
	if err != nil {
		stop()
		return nil, nil, err
	}
	return nc, func() { nc.Close(); stop() }, nil
}
