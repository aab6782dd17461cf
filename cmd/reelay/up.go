package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/template"

	"github.com/nats-io/nats.go"

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
// Without any provider key it runs the sandbox. With a key it talks to the real provider, and spends money. Each of the
// two has a store of its own below --store-dir, kept over a restart.
//
// The webhook service runs in the sandbox, and otherwise with --public-url. Without REELAY_CALLBACK_KEY its key is made
// once and kept in the store.
type upCmd struct {
	Broker    config.Broker    `embed:""`
	Providers config.Providers `embed:""`
	Pipeline  config.Pipeline  `embed:""`
	Webhook   config.Webhook   `embed:""`
	Guard     config.Guard     `embed:""`
	Ops       config.Ops       `embed:""`
}

// Run runs the stack until ctx ends.
func (c *upCmd) Run(ctx context.Context, e *env) error {
	resolved, err := c.Providers.Resolve()
	if err != nil {
		return err
	}
	if len(resolved.Keys) == 0 {
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
	log := c.Ops.Logger(e.stderr)
	log.Info("process starts", "version", version.Get().Version, "revision", version.Get().Revision)
	p := proc.New(log)
	err = c.serve(ctx, e.stdout, p, allinone.Options{
		StoreDir: store, Listen: c.Broker.Listen, Sync: natsd.Sync(c.Broker.Sync), Providers: resolved, Pipeline: c.Pipeline,
		Webhook: c.Webhook, Guard: c.Guard, Log: log,
	})
	return errors.Join(err, p.Stop())
}

func (c *upCmd) serve(ctx context.Context, w io.Writer, p *proc.Process, o allinone.Options) error {
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
	if err := welcome.Execute(w, welcomeData{
		URL: s.URL(), Store: o.StoreDir, Ops: c.Ops.OpsListen, Callbacks: s.CallbackURLs().Public,
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

type welcomeData struct {
	URL, Store, Ops, Callbacks string
	Sandbox                    bool
	Lanes                      []provider.Lane
	// Example is the provider of the example request.
	Example registry.Provider
}

var welcome = template.Must(template.New("welcome").Parse(`
reelay is up at {{.URL}}
{{- if .Sandbox}}
  SANDBOX: every provider is emulated, no key is used, no money is spent.
{{- else}}
  LIVE: requests are sent to real providers and cost money.
{{- end}}
  lanes      {{range $i, $a := .Lanes}}{{if $i}}, {{end}}{{$a.Name}}{{if $a.Emulated}} (emulated){{end}}{{end}}
  store      {{.Store}}
{{- with .Callbacks}}
  callbacks  {{.}}/cb/... (callbacks of providers; see: reelay callbacks ls)
{{- end}}
{{- with .Ops}}
  ops        http://{{.}}/metrics (also /healthz, /readyz)
{{- end}}

  reelay.request.<project>.<task_type>           publish a request
  reelay.event.<project>.<task>.<event>          hear what happens (stream REELAY_EVENTS)
  reelay.api.<verb>.<project>[.<task>]           ask: submit get list queue timeline wait cancel resolve batch spend
  reelay.api.lanes, .caps, .dead, .callbacks     ask as an operator; nats micro info reelay shows what is set by which subject
  $KV.reelay_tasks.<project>.<task>              the record (KV bucket reelay_tasks)

Paste into another terminal:
  nats -s {{.URL}} sub 'reelay.event.demo.*.*'
  nats -s {{.URL}} pub reelay.request.demo.video '{"id":"kite-1","provider":"{{.Example.Name}}","model":"{{.Example.ExampleModel}}","input":{"prompt":"a kite over dunes"}}'
  nats -s {{.URL}} req reelay.api.wait.demo.kite-1 '{"timeout":"60s"}' --timeout 90s
  nats -s {{.URL}} req reelay.api.queue ''
  nats -s {{.URL}} micro info reelay
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
	keys, err := callbackurl.Kept(filepath.Join(dir, callbackurl.KeyFile))
	if err != nil {
		stop()
		return nil, nil, err
	}
	// Nothing in it outlives the process, so no write has to wait for the disk.
	s, err := allinone.Start(ctx, p, allinone.Options{
		StoreDir: dir, Sync: natsd.SyncInterval, Providers: config.Resolved{Sandbox: true, CallbackKeys: keys}, Log: log,
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
