//go:build unix

package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
)

// project is the project of every task of a run.
const project = "chaos"

// A Script is the fault that a task asks the emulator for.
type Script string

// The scripts. A clean one asks for none; a limited one is met by a few tasks of a run only, because it pauses the
// whole account for a minute.
const (
	Clean           Script = "clean"
	Cancelled       Script = "cancelled" // a cancel is published right behind the request
	Twice           Script = "twice"     // the request is published twice
	AcceptReset     Script = "accept_then_reset"
	Accept500       Script = "accept_then_500"
	Accept502HTML   Script = "accept_then_502_html"
	AcceptHang      Script = "accept_then_hang"
	AcceptEmpty     Script = "accept_then_empty"
	ResetBefore     Script = "reset_before"
	RefusedInput    Script = "refused_input"
	RefusedRate     Script = "refused_rate"
	PollsFail       Script = "polls_500"
	PollsUnknown    Script = "polls_unknown"
	PollsNotFound   Script = "polls_not_found"
	ResultFails     Script = "result_500"
	FailsAtProvider Script = "fail"
)

// scripts fill the shuffle bag of a run: one in three asks for a fault, and each is there twice, because a kill can
// hide one.
func scripts() []Script {
	faults := []Script{
		Cancelled, Twice, AcceptReset, Accept500, Accept502HTML, AcceptHang, AcceptEmpty, ResetBefore, RefusedInput,
		PollsFail, PollsUnknown, PollsNotFound, ResultFails, FailsAtProvider,
	}
	faults = append(faults, faults...)
	return append(faults, repeat(2*len(faults), Clean)...)
}

// falFaults and minimaxFaults are the faults of webhooks that tasks ask for. Forged is not for fal: what fal has signed
// for our account, sent to a URL that only fal knows, is accepted. MiniMax signs nothing, and what it says must show to
// our key; a stranger is to it what a forger is.
func falFaults() []emulator.Fault {
	return []emulator.Fault{
		emulator.Delay, emulator.Reorder, emulator.BeforeReply, emulator.BadSignature, emulator.OldTimestamp,
		emulator.NullPayload, emulator.Truncated, emulator.Stranger,
	}
}

func minimaxFaults() []emulator.Fault {
	return []emulator.Fault{
		emulator.Delay, emulator.Reorder, emulator.BeforeReply, emulator.NullPayload, emulator.Truncated, emulator.Forged,
		emulator.NumericChallenge,
	}
}

// halfFaulty adds as many tasks without a fault to those with one: half of the tasks ask for no fault of their
// webhooks.
func halfFaulty(faults []emulator.Fault) []emulator.Fault {
	return append(faults, make([]emulator.Fault, len(faults))...)
}

// callbackDelay is how late a delayed webhook is.
const callbackDelay = 4 * time.Second

// maxRateRefusals is how many tasks of a run are refused for the account's rate, a short run having fewer.
const maxRateRefusals = 4

// An API is one kind of provider call.
type API string

// The APIs, and the lanes that they belong to.
const (
	FalVideo  API = "fal_video"
	FalImage  API = "fal_image"
	MinimaxV1 API = "minimax_v1"
	MinimaxV2 API = "minimax_v2"
)

// modelV2 is the model of MinimaxV2. It has limits of its own.
const modelV2 = "MiniMax-H3"

func apis() []API {
	return append(append(append(repeat(3, FalVideo), repeat(2, FalImage)...), repeat(3, MinimaxV1)...),
		repeat(2, MinimaxV2)...)
}

// An Ask is one task that a run hands in.
type Ask struct {
	Key    events.Key
	Type   events.TaskType
	API    API
	Script Script
	// CallbackFault is the fault of the task's webhooks, empty for none.
	CallbackFault emulator.Fault
	Body          []byte
}

func (a *Ask) fal() bool { return a.API == FalVideo || a.API == FalImage }

// plan makes the tasks of a run.
func plan(t testing.TB, seed uint64, n int) []Ask {
	t.Helper()
	scriptOf, apiOf := newShuffleBag(seed, 1, scripts()), newShuffleBag(seed, 2, apis())
	falCallback, minimaxCallback := newShuffleBag(seed, 4, halfFaulty(falFaults())),
		newShuffleBag(seed, 5, halfFaulty(minimaxFaults()))
	rng := rand.New(rand.NewPCG(seed, 3))
	asks := make([]Ask, n)
	// Spread over the run, so that one pause of a lane ends before the next begins.
	refusals, refused := min(maxRateRefusals, 1+n/80), 0
	for i := range asks {
		a := Ask{
			Key: events.Key{Project: project, ID: fmt.Sprintf("t%05d", i)}, Type: events.Video, API: apiOf.draw(),
			Script: scriptOf.draw(),
		}
		if a.Script == Clean && refused < refusals && i >= refused*n/(2*refusals) {
			a.Script = RefusedRate
			refused++
		}
		if a.fal() {
			a.CallbackFault = falCallback.draw()
		} else {
			a.CallbackFault = minimaxCallback.draw()
		}
		a.Body = a.request(t, rng)
		asks[i] = a
	}
	return asks
}

// marker is the member of the input by which a ledger entry is matched to its task.
const marker = "chaos_task"

func (a *Ask) request(t testing.TB, rng *rand.Rand) []byte {
	t.Helper()
	r := events.Request{ID: a.Key.ID, SceneID: "scene-" + strconv.Itoa(rng.IntN(5)), OnInDoubt: events.InDoubtHold}
	input := map[string]any{marker: a.Key.ID, "emulate": a.script(rng)}
	prompt := "a kite over dunes, take " + a.Key.ID
	switch a.API {
	case FalVideo:
		r.Provider, r.Model = "fal", "fal-ai/kling-video/v3/pro/text-to-video"
		input["prompt"] = prompt
	case FalImage:
		a.Type = events.Image
		r.Provider, r.Model = "fal", "fal-ai/flux/schnell"
		input["prompt"] = prompt
	case MinimaxV1:
		r.Provider, r.Model = "minimax", "MiniMax-Hailuo-2.3"
		input["prompt"] = prompt
	case MinimaxV2:
		r.Provider, r.Model = "minimax", modelV2
		input["content"] = []map[string]string{{"type": "text", "text": prompt}}
		input["resolution"], input["duration"], input["ratio"] = "768P", 5, "16:9"
	}
	if a.Script == RefusedRate {
		r.Timeout = events.Duration(20 * time.Second) // it is refused for as long as it lives
	}
	var err error
	if r.Input, err = json.Marshal(input); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// script is the script in the emulators' own words.
func (a *Ask) script(rng *rand.Rand) emulator.Script {
	queue, run, position := 200+rng.IntN(800), 200+rng.IntN(1300), rng.IntN(4)
	s := emulator.Script{
		QueueMS: &queue, RunMS: &run, Position: &position, Webhook: string(a.CallbackFault),
		WebhookDelayMS: int(callbackDelay.Milliseconds()),
	}
	choose := func(ofFal, ofMinimax string) string {
		if a.fal() {
			return ofFal
		}
		return ofMinimax
	}
	switch a.Script {
	case AcceptReset, Accept500, Accept502HTML, AcceptHang, AcceptEmpty, ResetBefore:
		s.Submit = string(a.Script)
	case RefusedInput:
		s.Submit = choose("refuse_422", "refuse_2013")
	case RefusedRate:
		s.Submit = choose("refuse_429", "refuse_1002")
	case PollsFail: // a poll is tried four times before it counts as failed
		s.Polls, s.PollFaults = "500", 4
	case PollsUnknown:
		s.Polls, s.PollFaults = "unknown", 2
	case PollsNotFound:
		s.Polls, s.PollFaults = "not_found", 2
	case ResultFails:
		s.ResultFaults = 2
	case FailsAtProvider:
		s.Fail = choose("422", "1027")
	}
	return s
}
