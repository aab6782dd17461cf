package allinone_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/natsd"
	"reelay/internal/proc"
	"reelay/internal/secret"
	"reelay/internal/test/broker"
	"reelay/internal/test/sim"
)

func TestMain(m *testing.M) { sim.Main(m) }

func callbackKeys() []callbackurl.Key {
	return []callbackurl.Key{{ID: "k", Secret: secret.New(strings.Repeat("k", callbackurl.KeyBytes))}}
}

// start starts a sandbox in memory.
func start(t *testing.T, network *sim.Network, change func(*allinone.Options)) *allinone.Stack {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p := proc.New(log)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{DialContext: network.Dial}
	t.Cleanup(transport.CloseIdleConnections)
	o := allinone.Options{
		StoreDir: t.TempDir(), Sync: natsd.SyncInterval,
		Providers: config.Resolved{Sandbox: true, CallbackKeys: callbackKeys()},
		Pipeline:  config.Pipeline{PollInterval: 10 * time.Second, Timeout: time.Hour}, ListenEmulator: network.Listen,
		ListenWebhook: network.Listen, Dial: network.Dial, Transport: transport, Log: log,
	}
	change(&o)
	s, err := allinone.Start(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// until is later than any test.
var until = time.Now().Add(24 * time.Hour)

// In the sandbox callbacks come to the webhook service's own address, over its restarts, and end up in the stream.
func TestWebhookInTheSandbox(t *testing.T) {
	broker.Bubble(t, func(t *testing.T) {
		network, taken := &sim.Network{}, 0
		s := start(t, network, func(o *allinone.Options) {
			o.ListenWebhook = func(address string) (net.Listener, error) {
				if address == config.WebhookListen { // as if it were taken, each time by somebody else
					taken++
					address = fmt.Sprintf("127.0.0.1:%d", 40000+taken-1)
				}
				return network.Listen(address)
			}
		})
		url := s.CallbackURLs().CallbackURL("minimax", events.Key{Project: "demo", ID: "t1"}, 1, until)
		if !strings.HasPrefix(url, "http://127.0.0.1:40000/cb/minimax/k/demo.t1.1.") {
			t.Fatalf("callback URL %s", url)
		}
		client := &http.Client{Transport: &http.Transport{DialContext: network.Dial}}
		defer client.CloseIdleConnections()
		post := func(body string, want int) {
			t.Helper()
			res, err := client.Post(url, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%s: %d, want %d", body, res.StatusCode, want)
			}
		}
		post(`{"task_id":"1","status":"processing"}`, 200)
		if err := s.StopService(allinone.Webhook); err != nil {
			t.Fatal(err)
		}
		if err := s.StartService(t.Context(), allinone.Webhook); err != nil {
			t.Fatal(err)
		}
		client.CloseIdleConnections()
		post(`{"task_id":"1","status":"success"}`, 200)
		if again := s.CallbackURLs().CallbackURL("minimax", events.Key{Project: "demo", ID: "t1"}, 1, until); again != url {
			t.Errorf("after a restart the URL is %s, was %s", again, url)
		}
		synctest.Wait()
		nc, err := s.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(t.Context(), events.StreamCallbacks)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n != 2 {
			t.Errorf("%d callbacks are kept", n)
		}
	})
}

// Without a callback key, or without an address that a real provider could reach, there is no webhook service and there
// are no URLs.
func TestNoWebhook(t *testing.T) {
	broker.Bubble(t, func(t *testing.T) {
		s := start(t, &sim.Network{}, func(o *allinone.Options) {
			o.Providers.CallbackKeys = nil
			o.ListenWebhook = func(string) (net.Listener, error) {
				t.Error("the webhook service listens")
				return nil, context.Canceled
			}
		})
		if url := s.CallbackURLs().CallbackURL("fal", events.Key{Project: "demo", ID: "t1"}, 1, until); url != "" {
			t.Errorf("callback URL %s", url)
		}
	})
}
