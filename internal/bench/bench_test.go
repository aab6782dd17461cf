package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// TestLoop runs the loop and the load that measures it on a real broker: each task is posted once, and its end heard.
func TestLoop(t *testing.T) {
	const tasks = 20
	var posts atomic.Int64
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			posts.Add(1)
			fmt.Fprintf(w, `{"status_url":%q,"response_url":%q}`, s.URL+"/status", s.URL+"/result")
		case strings.HasSuffix(r.URL.Path, "/status"):
			_, _ = io.WriteString(w, `{"status":"COMPLETED"}`)
		default:
			_, _ = io.WriteString(w, `{"video":{}}`)
		}
	}))
	t.Cleanup(s.Close)
	b := broker.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	loop := Loop{URL: s.URL, Model: "m"}
	go func() { ended <- loop.Run(running, b.Connect(), func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	l, err := newLoad(b.Connect(), loopClient())
	b.OK(err)
	defer l.close()
	_, err = l.together(ctx, tasks-2)
	b.OK(err)
	times, err := l.alone(ctx, 2)
	b.OK(err)
	stop()
	b.OK(<-ended)
	loop.client.CloseIdleConnections()
	if got := posts.Load(); got != tasks || len(times) != 2 {
		t.Errorf("%d posts and %d times, want %d and 2", got, len(times), tasks)
	}
}

// TestTaskClient: what the bench hands in is a request of the contract, and it hears the end by the task's id.
func TestTaskClient(t *testing.T) {
	c := taskClient(first())
	subject, data := c.request("t1")
	if subject != "reelay.request.bench.video" || c.ends != "reelay.event.bench.*.completed" || !json.Valid(data) {
		t.Errorf("subject %s, ends %s, request %s", subject, c.ends, data)
	}
}

func ExampleReport() {
	half := func(rate, cpu float64) Half {
		return Half{TasksPerS: rate, CPUS: cpu, CPUSOf: map[string]float64{"natsd": cpu}, In: 5}
	}
	r := Report{Sync: "interval", Tasks: 10, Alone: 1, Runs: []Run{
		{Loop: half(100, 1), Reelay: half(50, 2)},
		{Loop: half(100, 1), Reelay: half(10, 4)},
		{Loop: half(200, 2), Reelay: half(50, 6)},
	}}
	r.sum()
	r.Rows = r.Rows[:2]
	_ = r.Write(os.Stdout) // it takes all
	// Output:
	//   10 tasks, 1 one at a time, sync interval, medians of 3  bare loop  reelay  ratio
	//                                                  tasks/s        100      50   0.25
	//                                    CPU s per 1,000 tasks          1       4      3
	//                                             CPU of natsd          1       4
}
