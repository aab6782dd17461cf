package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	loopRequests = "bench.request."
	loopEnds     = "bench.event."
	loopBucket   = "bench_tasks"
	// loopInFlight is how many tasks the loop works on at once.
	loopInFlight = 64
)

type loopInput struct {
	Prompt string `json:"prompt"`
}

type loopRequest struct {
	ID    string    `json:"id"`
	Input loopInput `json:"input"`
}

// loopRecord is what the loop keeps of a task, and publishes at its end.
type loopRecord struct {
	ID     string          `json:"id"`
	Status string          `json:"status"`
	Input  loopInput       `json:"input"`
	Handle json.RawMessage `json:"handle"`
	Result json.RawMessage `json:"result,omitempty"`
}

// A Loop is the least that makes a task of a request with JetStream: consume, POST, KV put, poll, KV update, publish,
// acknowledge. A crash pays twice or loses what was paid for, nothing is retried, and no limit holds.
type Loop struct {
	// URL is where the provider's queue is, Model what is asked of it.
	URL, Model string

	js     jetstream.JetStream
	tasks  jetstream.KeyValue
	client *http.Client
}

// Run provisions what the loop needs, calls ready, and works until ctx ends. It stops at the first error.
func (l *Loop) Run(ctx context.Context, nc *nats.Conn, ready func()) (err error) {
	l.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loopInFlight}}
	if l.js, err = jetstream.New(nc); err != nil {
		return err
	}
	requests, err := l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "BENCH_REQUESTS", Subjects: []string{loopRequests + ">"}, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return err
	}
	_, err = l.js.CreateOrUpdateStream(ctx,
		jetstream.StreamConfig{Name: "BENCH_EVENTS", Subjects: []string{loopEnds + ">"}})
	if err != nil {
		return err
	}
	if l.tasks, err = l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: loopBucket}); err != nil {
		return err
	}
	consumer, err := requests.CreateOrUpdateConsumer(ctx,
		jetstream.ConsumerConfig{Durable: "loop", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	slots := make(chan struct{}, loopInFlight)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			if err := l.task(ctx, m); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		}()
	})
	if err != nil {
		return err
	}
	defer consuming.Stop()
	ready()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// task takes one task from its request to its end.
func (l *Loop) task(ctx context.Context, m jetstream.Msg) error {
	var r loopRequest
	if err := json.Unmarshal(m.Data(), &r); err != nil {
		return err
	}
	body, err := json.Marshal(r.Input)
	if err != nil {
		return err
	}
	var handle struct {
		StatusURL   string `json:"status_url"`
		ResponseURL string `json:"response_url"`
	}
	t := loopRecord{ID: r.ID, Status: "queued", Input: r.Input}
	if t.Handle, err = l.call(ctx, http.MethodPost, l.URL+"/"+l.Model, body, &handle); err != nil {
		return err
	}
	value, err := json.Marshal(t)
	if err != nil {
		return err
	}
	revision, err := l.tasks.Put(ctx, r.ID, value)
	if err != nil {
		return err
	}
	var state struct {
		Status string `json:"status"`
	}
	for state.Status != "COMPLETED" {
		if _, err = l.call(ctx, http.MethodGet, handle.StatusURL, nil, &state); err != nil {
			return err
		}
	}
	if t.Result, err = l.call(ctx, http.MethodGet, handle.ResponseURL, nil, &struct{}{}); err != nil {
		return err
	}
	t.Status = "completed"
	if value, err = json.Marshal(t); err != nil {
		return err
	}
	if _, err = l.tasks.Update(ctx, r.ID, value, revision); err != nil {
		return err
	}
	if _, err = l.js.Publish(ctx, loopEnds+r.ID+".completed", value); err != nil {
		return err
	}
	return m.Ack()
}

// call makes one HTTP call and returns its answer, read into v as well.
func (l *Loop) call(ctx context.Context, method, url string, body []byte, v any) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Key bench")
	res, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, res.Status, answer.Bytes())
	}
	return answer.Bytes(), json.Unmarshal(answer.Bytes(), v)
}
