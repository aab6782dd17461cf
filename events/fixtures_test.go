package events_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/events/operator"
)

func at(second int) time.Time {
	return time.Date(2026, time.March, 1, 12, 0, second, 250_000_000, time.UTC)
}

// fullWant has every field set.
func fullWant() *events.Want {
	return &events.Want{
		Prompt: "a heron lands", NegativePrompt: "people", Image: "https://media.example/first.png",
		LastFrame: "https://media.example/last.png", References: []events.WantValue{"https://media.example/heron.png"}, Duration: 7.5,
		AspectRatio: "16:9", Resolution: "720p", Seed: new(int64(0)), Audio: new(false), Text: "There, a heron.",
		Voice: `{"$from":"voice-1","field":"voice_id"}`, Options: json.RawMessage(`{"cfg_scale":0.50}`),
	}
}

// wantRequest has every field set that a request with a want may have.
func wantRequest() events.Request {
	r := fullRequest()
	r.Input, r.Want, r.Lenient = nil, fullWant(), true
	r.InputFiles = map[string]string{"/options/audio_url": "hum.mp3"}
	return r
}

// retryRequest has every field set that a retry may have.
func retryRequest() events.Request {
	r := fullRequest()
	r.Provider, r.Model, r.Input, r.InputFiles, r.After, r.OnDependency = "", "", nil, nil, nil, ""
	r.RetryOf, r.PayAgain, r.Replace = "shot-042", true, map[string]string{"voice-1": "voice-1-r2"}
	r.ID = "shot-042-r2"
	return r
}

// fullRequest has every field set that a request with an input may have.
func fullRequest() events.Request {
	return events.Request{
		ID: "shot-042", Provider: "fal", Model: "fal-ai/kling-video/v2/master",
		Input:   json.RawMessage(`{"prompt":"a <b>heron</b> & a fish","seed":12345678901234567890,"cfg":1.0}`),
		SceneID: "scene-7", BatchID: "reel-9", BatchSize: 12, Priority: -5, Timeout: events.Duration(30 * time.Minute),
		StartTimeout: events.Duration(90 * time.Second), OnInDoubt: events.InDoubtResubmit, MaxPaidAttempts: 2,
		EstimatedUSD: 0.35, MaxCostUSD: 1.5, Metadata: map[string]string{"film": "heron", "take": "3"},
		After: []string{"shot-041", "voice-1"}, OnDependency: events.DependencyIgnore, NotBefore: new(at(3)),
		Keep: events.KeepRequired, Notify: "studio", InputFiles: map[string]string{"image_url": "frame.png"},
	}
}

// fullError has every field set.
func fullError() *events.Error {
	return &events.Error{
		Code: "content_policy_violation", Kind: events.KindModeration, Message: "the prompt was refused", Retryable: true,
		Charge: events.ChargeNone, Field: "input.prompt", Allowed: []string{"5", "10"}, HTTPStatus: 422, TraceID: "0af7651916cd43dd",
	}
}

// fullResult has every field set.
func fullResult() *events.Result {
	return &events.Result{
		Outputs: []events.Output{{
			URL: "https://media.example/heron.mp4?a=1&b=2", ContentType: "video/mp4", FileName: "heron.mp4", Size: 1 << 40,
			SHA256: strings.Repeat("4", 64), ExpiresAt: new(at(58)), Object: "output-" + strings.Repeat("7", 64),
			Width: 1920, Height: 1080, DurationS: 5.04, Stored: new(true),
			StoredURL: "s3://reel/demo/" + strings.Repeat("4", 64) + ".mp4", StoreError: fullError(),
		}},
		Values: map[string]string{events.ValueVoiceID: "narrator-7"},
		Raw:    json.RawMessage(`{"video":{"url":"https://media.example/heron.mp4"}}`),
		RawRef: "raw-" + strings.Repeat("5", 64), Late: true, Notes: []string{"flagged by the provider"},
	}
}

// fullTask has every field set, also those that exclude each other.
func fullTask() events.Task {
	return events.Task{
		Schema: events.TaskSchema,
		ID:     "shot-042", Project: "demo", SceneID: "scene-7", BatchID: "reel-9", BatchSize: 12, TaskType: events.Video,
		RetryOf:  "shot-041",
		Provider: "fal", Lane: "fal-team2", Group: "fal-all", Model: "fal-ai/kling-video/v2/master", RequestDigest: strings.Repeat("1", 64),
		InputDigest: strings.Repeat("2", 64), Input: fullRequest().Input, InputRef: "input-" + strings.Repeat("2", 64),
		Want: fullWant(), Warnings: []string{"the model makes no sound"},
		Priority: -5, Metadata: map[string]string{"film": "heron", "take": "3"}, After: []string{"shot-041", "voice-1"},
		OnDependency: events.DependencyIgnore, WaitsFor: []string{"voice-1"}, TimeoutFrom: new(at(3)),
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Status:      events.StatusInProgress, Phase: events.PhaseRunning,
		QueuePosition:  &events.QueuePosition{Ours: new(0), Provider: new(4), Total: new(4)},
		EstimatedWaitS: new(41.5), ETA: new(at(50)), ETAEarliest: new(at(45)), ETALatest: new(at(56)), Pace: events.PaceSlow,
		Forecast:           &events.Forecast{Earliest: at(40), ETA: at(44), Latest: at(52)},
		ProgressPercentage: new(12.5), Blocked: &events.Blocked{
			Reason: events.BlockedRequests, Model: "fal-ai/kling-video", Project: "demo",
			Message: "20 requests in a minute are used", Until: new(at(31)),
		},
		Logs: []events.LogLine{{At: new(at(9)), Level: "info", Message: "step 3 of 20"}}, LogCount: 17,
		Attempts: []events.Attempt{{
			N: 1, Owner: "submitter-7f3a", IntentAt: at(1), NotAfter: at(31), BodySHA256: strings.Repeat("3", 64),
			Lane:    "fal-team2",
			Files:   map[string]json.RawMessage{"input.image_url": json.RawMessage(`"https://media.example/frame.png"`)},
			Outcome: events.AttemptAccepted, OutcomeAt: new(at(2)), Ref: json.RawMessage(`{"request_id":"019c"}`),
			ProviderID: "019c", Charge: events.ChargeConfirmed, CostUSD: new(0.4), Callback: true, SentAfter: new(at(0)),
			Error:  fullError(),
			Result: fullResult(), Searches: 2, Listings: 1, SearchedAt: new(at(2)), SharedID: true,
			Evidence: []events.Evidence{
				{At: at(2), Source: events.SourceReply, ProviderID: "019c", Note: "200 with a request id", Answer: "<html>"},
			},
		}},
		ProviderRef: json.RawMessage(`{"request_id":"019c"}`), ProviderID: "019c", ProviderWord: "IN_PROGRESS",
		CreatedAt: at(0), SubmittedAt: new(at(2)), StartedAt: new(at(5)), CompletedAt: new(at(55)), NotBefore: new(at(3)),
		Deadline: at(59), StartDeadline: new(at(30)), OnInDoubt: events.InDoubtHold, MaxPaidAttempts: 2,
		LastCommand: 7,
		Cancel: &events.CancelState{
			AskedAt: at(20), Reason: "wrong take", By: "client", SentAt: new(at(21)), Outcome: "requested", Tries: 1,
			RetryAt: new(at(22)),
		},
		Trouble:   &events.Trouble{Kind: events.KindNotFound, Message: "no such request", Since: at(15), NotFound: 2, Ended: 1},
		Error:     fullError(),
		Result:    fullResult(),
		LateUntil: new(at(57)), Keep: events.KeepRequired, Notify: "studio",
		Cost: &events.Cost{
			EstimatedUSD: new(0.35), ActualUSD: new(0.4), MaxUSD: new(1.5), FixedUSD: new(0.05), UnitUSD: new(0.07),
			Basis: "5 second at 0.07 USD (https://example.org/prices, 2026-01-31)", Units: new(5.0), Unit: "seconds",
		},
		ErasedAt: new(at(58)), Unannounced: true, Version: 1 << 60,
		Transitions: []events.Transition{{
			Version: 3, At: at(2), Name: "accepted", From: events.PhaseSubmitting, To: events.PhaseProviderQueued,
			By: "submitter", RequestedBy: "TENANT_demo UABC", Reason: events.BlockedCap, Cap: &events.CapReached{Scope: "project.demo", DailyUSD: 20},
			Note: "fal gave request 019c", Event: events.EventSubmitted, Attempt: 1,
		}},
	}
}

// fullTypical has every field set.
var fullTypical = events.Typical{Samples: 120, WaitS: 12.5, RunS: 240, WholeS: 255.5, LateS: 400}

// fullSheet has every field set.
func fullSheet() events.ModelSheet {
	return events.ModelSheet{
		Provider: "fal", Model: "fal-ai/kling-video/v3/pro", Aliases: []string{"kling-v3"},
		TaskTypes: []events.TaskType{events.Video}, DefaultFor: []events.TaskType{events.Video},
		SupportedDurations: []string{"5", "10"}, SupportedResolutions: []string{"720p"},
		SupportedAspectRatios: []string{"16:9"}, SupportedFrameImages: []string{"first_frame", "last_frame"},
		References: true, Audio: true, Seed: true, NegativePrompt: true,
		Prices: []events.ModelPrice{{
			Unit: "second", USD: 0.112, When: map[string][]string{"generate_audio": {"false"}},
			Source: "https://example.org/prices", AsOf: "2026-01-31",
		}},
		Typical: &fullTypical, Forms: []events.ModelForm{{
			Model: "fal-ai/kling-video/v3/pro/text-to-video", Needs: []string{"prompt"},
			Wants: map[string][]string{"prompt": {}, "duration": {"5", "10"}}, Options: []string{"cfg_scale"},
			Served: true,
		}},
		Source: "https://example.org/models", AsOf: "2026-01-31",
	}
}

// fullBatch has every field set.
func fullBatch() events.Batch {
	return events.Batch{
		Project: "demo", ID: "reel-9", Announced: 12, Total: 11, Ended: 10, Rejected: 2,
		ByStatus: map[events.Status]int{
			events.StatusQueued: 0, events.StatusInProgress: 1, events.StatusCompleted: 9, events.StatusFailed: 1,
			events.StatusCancelled: 0,
		}, CostUSD: 4.2,
	}
}

// smallTask is a task as it often is, so that the goldens of the events also show which fields are left out.
func smallTask(s events.Status, p events.Phase, version uint64) *events.Task {
	return &events.Task{
		Schema: events.TaskSchema, ID: "shot-042", Project: "demo", TaskType: events.Video, Provider: "fal", Lane: "fal",
		Model: "fal-ai/kling-video", RequestDigest: strings.Repeat("1", 64), InputDigest: strings.Repeat("2", 64),
		Input: json.RawMessage(`{"prompt":"a heron"}`), Status: s, Phase: p, CreatedAt: at(0), Deadline: at(59),
		OnInDoubt: events.InDoubtHold, MaxPaidAttempts: 1, Version: version,
		Transitions: []events.Transition{
			{Version: 1, At: at(0), Name: "create", To: events.PhaseWaiting, By: "submitter", Event: events.EventQueued},
		},
	}
}

// anEvent is one event of the type, with the fields that this type has.
func anEvent(t events.EventType) events.Event {
	e := events.Event{
		Type: t, Project: "demo", TaskID: "shot-042", Time: at(10), Message: "what happened, in words",
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Notify: []string{"studio"},
	}
	s, p := events.StatusInProgress, events.PhaseRunning
	switch t {
	case events.EventQueued:
		s, p, e.Version, e.WaitsFor = events.StatusQueued, events.PhaseWaiting, 1, []string{"voice-1"}
	case events.EventSubmitted:
		s, p, e.Version = events.StatusQueued, events.PhaseProviderQueued, 3
	case events.EventProgress:
		e.Version, e.Logs = 4, []events.LogLine{
			{At: new(at(9)), Level: "info", Message: "step 3 of 20"},
			{Message: "step 4 of 20"},
		}
	case events.EventInDoubt:
		s, p, e.Version = events.StatusQueued, events.PhaseInDoubt, 3
	case events.EventCompleted:
		s, p, e.Version = events.StatusCompleted, events.PhaseDone, 5
	case events.EventFailed:
		s, p, e.Version, e.Error = events.StatusFailed, events.PhaseDone, 5, fullError()
	case events.EventCancelled:
		s, p, e.Version = events.StatusCancelled, events.PhaseDone, 5
	case events.EventLateResult:
		s, p, e.Version = events.StatusFailed, events.PhaseDone, 7
	case events.EventStored:
		s, p, e.Version = events.StatusCompleted, events.PhaseDone, 6
	case events.EventRejected:
		e.RequestDigest, e.BatchID, e.BatchSize = strings.Repeat("6", 64), "reel-9", 12
		e.Error = &events.Error{
			Code: events.CodeInvalidRequest, Kind: events.KindInvalid, Message: "model: is missing",
			Field: "model", Charge: events.ChargeNone,
		}
		return e
	case events.EventBatchDone:
		e.TaskID, e.Traceparent, e.Notify = "", "", []string{"studio", "press"}
		e.Batch = new(fullBatch())
		return e
	case events.EventPaused, events.EventResumed:
		e.Project, e.TaskID, e.Lane, e.Version, e.Traceparent, e.Notify = events.LanesProject, "", "fal-team2", 9, "", nil
		if t == events.EventPaused {
			e.Blocked = &events.Blocked{
				Reason: events.BlockedAccount, Model: "m", Project: "demo",
				Message: "what keeps it, in words", Until: new(at(40)),
			}
		}
		return e
	}
	e.TaskType, e.Provider, e.Lane, e.Model, e.Status, e.Phase = events.Video, "fal", "fal", "fal-ai/kling-video", s, p
	e.Transition = &events.Transition{Version: e.Version, At: e.Time, Name: "the_step", To: p, By: "poller", Event: t}
	if t.WithTask() {
		e.Task = smallTask(s, p, e.Version)
	}
	switch t {
	case events.EventProgress:
		full := fullTask()
		e.SceneID, e.BatchID, e.ProviderID, e.Cost = full.SceneID, full.BatchID, full.ProviderID, full.Cost
		e.QueuePosition, e.EstimatedWaitS, e.ETA, e.ETAEarliest, e.ETALatest = full.QueuePosition, full.EstimatedWaitS,
			full.ETA, full.ETAEarliest, full.ETALatest
		e.Pace, e.ProgressPercentage, e.Error = full.Pace, full.ProgressPercentage, fullError()
		e.Transition = &full.Transitions[0]
		e.Transition.Note = ""
	case events.EventInDoubt:
		e.Error = fullError()
	case events.EventCompleted, events.EventLateResult, events.EventStored:
		e.Task.CompletedAt, e.Task.Result = new(at(9)), fullTask().Result
		e.Task.Result.Late = t == events.EventLateResult
	case events.EventFailed, events.EventCancelled:
		e.Task.CompletedAt, e.Task.Error = new(at(9)), e.Error
	}
	return e
}

// mustMarshal writes v as the contract does.
func mustMarshal(t rapid.TB, v any) []byte {
	t.Helper()
	b, err := events.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// zeroFields names the exported fields below v that are zero, so that a golden shows whether it covers everything.
// Fields that are not part of the JSON are left out.
func zeroFields(v reflect.Value, path string) []string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return []string{path}
		}
		switch v.Elem().Kind() {
		case reflect.Struct:
			return zeroFields(v.Elem(), path)
		default: // a pointer to 0 is a value
			return nil
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			break
		}
		var zero []string
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				zero = append(zero, zeroFields(v.Field(i), path+"."+f.Name)...)
			}
		}
		return zero
	case reflect.Slice:
		if v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct {
			return zeroFields(v.Index(0), path+"[0]")
		}
		if v.Len() == 0 {
			return []string{path}
		}
		return nil
	}
	if v.IsZero() {
		return []string{path}
	}
	return nil
}

// wantFieldError checks that err is a FieldError with the text want, "" meaning none. A want that ends in "*" is a
// prefix: the rest is encoding/json's.
func wantFieldError(t testing.TB, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("error %q, want none", err)
		}
		return
	}
	var fe *events.FieldError
	if !errors.As(err, &fe) || !errors.Is(err, events.ErrInvalid) {
		t.Errorf("error %v, want a FieldError %q", err, want)
		return
	}
	prefix, open := strings.CutSuffix(want, "*")
	if open && strings.HasPrefix(err.Error(), prefix) || err.Error() == want {
		return
	}
	t.Errorf("error %.300q, want %.300q", err, want)
}

// someArtifact is a file of the store.
var someArtifact = operator.ArtifactFile{
	Name: "demo/" + strings.Repeat("4", 64) + ".mp4", Size: 1 << 40, StoredAt: at(58), Task: "demo.shot-042",
}
