package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/client"
	"reelay/events/operator"
	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/natsd"
	"reelay/internal/proc"
)

// sandbox starts the whole of reelay with an emulated provider, as `reelay up` does, and connects to it. A program of
// yours connects with nats.Connect(url) instead.
func sandbox() (nc *nats.Conn, stop func()) {
	dir, err := os.MkdirTemp("", "reelay-example-")
	check(err)
	log := slog.New(slog.DiscardHandler)
	p := proc.New(log)
	s, err := allinone.Start(context.Background(), p, allinone.Options{
		StoreDir: dir, Sync: natsd.SyncInterval, Providers: config.Resolved{Sandbox: true}, Log: log,
		Speed:           emulator.Speed{Queue: 50 * time.Millisecond, Run: 100 * time.Millisecond},
		SandboxInterval: 50 * time.Millisecond,
	})
	check(err)
	nc, err = s.Connect("example")
	check(err)
	return nc, func() {
		nc.Close()
		check(p.Stop())
		check(os.RemoveAll(dir))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A task is handed in, and its end is waited for.
func Example() {
	nc, stop := sandbox()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := client.New(nc)

	task, err := c.Submit(ctx, "demo", events.Video, events.Request{
		ID: "kite-1", Provider: "fal", Model: "fal-ai/wan", Input: []byte(`{"prompt":"a kite"}`),
	})
	check(err)
	task, err = c.Wait(ctx, task.Key())
	check(err)
	fmt.Println(task.Key(), task.Status, len(task.Result.Outputs))
	// Output: demo.kite-1 completed 1
}

// What happens to a task is shown as it happens.
func ExampleClient_Watch() {
	nc, stop := sandbox()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := client.New(nc)

	k := events.Key{Project: "demo", ID: "kite-2"}
	stream, err := c.Subscribe(ctx, events.EventSubject(k, "*")) // before the submit, so that nothing is missed
	check(err)
	known, err := c.Submit(ctx, k.Project, events.Video, events.Request{
		ID: k.ID, Provider: "fal", Model: "fal-ai/wan", Input: []byte(`{"prompt":"a kite"}`),
	})
	check(err)
	task, err := c.Watch(ctx, known, stream, client.Watcher{Event: func(e events.Event) {
		if e.Type != events.EventProgress {
			fmt.Println(e.Type)
		}
	}})
	check(err)
	fmt.Println("ended:", task.Status)
	// Output:
	// queued
	// submitted
	// completed
	// ended: completed
}

// Every result is handled, at least once, by a program that may be restarted.
func ExampleClient_Follow() {
	nc, stop := sandbox()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := client.New(nc)
	for _, id := range []string{"kite-3", "kite-4"} {
		_, err := c.Submit(ctx, "demo", events.Video, events.Request{
			ID: id, Provider: "fal", Model: "fal-ai/wan", Input: []byte(`{"prompt":"a kite"}`),
		})
		check(err)
	}

	left := 2
	err := c.Follow(ctx, "archive", events.EventFilter(events.EventCompleted),
		func(_ context.Context, e events.Event) error {
			fmt.Println("archived", e.TaskID, len(e.Task.Result.Outputs))
			if left--; left == 0 {
				cancel() // a real one goes on
			}
			return nil
		})
	fmt.Println(err)
	// Unordered output:
	// archived kite-3 1
	// archived kite-4 1
	// context canceled
}

// A program stops spending on a lane and lets it go on, and never undoes what a person has done meanwhile.
func ExampleClient_PauseLane() {
	nc, stop := sandbox()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := client.New(nc)

	paused, err := c.PauseLane(ctx, operator.PauseRequest{Lane: "fal", Reason: "the bill of May", By: "night-watch"})
	check(err)
	fmt.Println(paused.Lane, "paused:", paused.Pause.Paused)

	_, err = c.PauseLane(ctx, operator.PauseRequest{Lane: "fal", Reason: "do not touch", By: "anna"})
	check(err)
	_, err = c.ResumeLane(ctx, operator.PauseRequest{Lane: "fal", By: "night-watch", Revision: &paused.Revision})
	fmt.Println(client.HasCode(err, events.CodeConflict))
	// Output:
	// fal paused: true
	// true
}
