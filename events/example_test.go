package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"reelay/events"
)

// A request is plain JSON on a plain subject: any NATS client can publish it. Without an id, a redelivered request is still the
// same task; with one, the client may publish it again itself.
func ExampleRequest() {
	r := events.Request{
		ID: "shot-042", Provider: "fal", Model: "fal-ai/kling-video/v2/master/text-to-video",
		Input:   json.RawMessage(`{"prompt":"a heron over a lake","duration":"5"}`),
		SceneID: "scene-7", Timeout: events.Duration(20 * time.Minute), MaxCostUSD: 1.5,
	}
	if err := r.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	payload, err := events.Marshal(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(events.RequestSubject("demo", events.Video))
	fmt.Println(string(payload))
	// Output:
	// reelay.request.demo.video
	// {"id":"shot-042","provider":"fal","model":"fal-ai/kling-video/v2/master/text-to-video","input":{"prompt":"a heron over a lake","duration":"5"},"scene_id":"scene-7","timeout":"20m0s","max_cost_usd":1.5}
}

// A request that cannot be accepted is refused by an error that names the field. The same error stands in the rejected event.
func ExampleDecodeRequest() {
	_, err := events.DecodeRequest([]byte(`{"provider":"fal","model":"m","input":{},"timeout":30}`))
	var wrong *events.FieldError
	if errors.As(err, &wrong) {
		fmt.Println("field:", wrong.Field)
		fmt.Println("message:", wrong.Message)
	}
	_, err = events.DecodeRequest([]byte(`{"provider":"fal","model":"m","input":{},"prompt":"a heron"}`))
	fmt.Println(err)
	// Output:
	// field: timeout
	// message: 30 is not a duration string such as "30m"
	// prompt: unknown field
}

// A consumer reads each event by its ce-type header and its payload, and leaves out what is newer than itself.
func ExampleDecodeEvent() {
	for _, message := range []struct{ ceType, payload string }{
		{"reelay.task.completed.v1", `{
			"type": "completed", "project": "demo", "task_id": "shot-042", "version": 6, "time": "2026-03-01T12:03:00Z",
			"task": {"schema": 3, "result": {"outputs": [{"url": "https://media.example/heron.mp4", "content_type": "video/mp4"}]}}
		}`},
		{"reelay.task.completed.v9", `{"layout":"of another time"}`},
	} {
		e, err := events.DecodeEvent(message.ceType, []byte(message.payload))
		if errors.Is(err, events.ErrUnknownType) {
			fmt.Println("left out:", err)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Key(), e.Type, "terminal:", e.Type.Terminal())
		if e.Type == events.EventCompleted {
			fmt.Println(e.Task.Result.Outputs[0].URL)
		}
	}
	// Output:
	// demo.shot-042 completed terminal: true
	// https://media.example/heron.mp4
	// left out: unknown event type: "reelay.task.completed.v9"
}

// The subjects of one task: where it is asked for, where it is stored, where it is heard of.
func ExampleKey() {
	k := events.Key{Project: "demo", ID: "shot-042"}
	fmt.Println("KV key:  ", k)
	fmt.Println("record:  ", events.RecordSubject(k))
	fmt.Println("timer:   ", events.HeartbeatSubject(k))
	fmt.Println("watch:   ", events.PollSubject("fal", k))
	fmt.Println("callback:", events.CallbackSubject("fal", k))
	fmt.Println("cancel:  ", events.CommandSubject(k, events.CommandCancel))
	fmt.Println("ended:   ", events.EventSubject(k, events.EventCompleted))
	fmt.Println("ask:     ", events.APISubject(events.VerbGet, k.Project, k.ID))
	// Output:
	// KV key:   demo.shot-042
	// record:   $KV.reelay_tasks.demo.shot-042
	// timer:    reelay.heartbeat.demo.shot-042
	// watch:    reelay.poll.fal.demo.shot-042
	// callback: reelay.callback.fal.demo.shot-042
	// cancel:   reelay.command.demo.shot-042.cancel
	// ended:    reelay.event.demo.shot-042.completed
	// ask:      reelay.api.get.demo.shot-042
}

// A consumer that hears events by subject alone needs no payload to tell what happened to which task.
func ExampleParseEventSubject() {
	k, event, err := events.ParseEventSubject("reelay.event.demo.shot-042.failed")
	fmt.Println(k.Project, k.ID, event, err)
	_, _, err = events.ParseEventSubject("reelay.event.demo.shot-042")
	fmt.Println(errors.Is(err, events.ErrSubject))
	// Output:
	// demo shot-042 failed <nil>
	// true
}

// Two requests with one id are the same request when their digests are equal, however they are spelt.
func ExampleDigest() {
	a, _ := events.Digest([]byte(`{"prompt": "a heron", "seed": 7}`))
	b, _ := events.Digest([]byte(`{"seed":7,"prompt":"a heron"}`))
	c, _ := events.Digest([]byte(`{"seed":7.0,"prompt":"a heron"}`))
	fmt.Println(a == b, a == c)
	// Output: true false
}
