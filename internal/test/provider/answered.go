package providertest

import (
	"errors"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	"reelay/internal/provider"
)

// testAnswered: the answer is the result. It is read the same each time, its attempt cannot be adopted by hand, and
// nothing of it shows the key.
func testAnswered(t *testing.T, h Harness) {
	b := newBench(t, h)
	s := h.Samples[0]
	in := input(t, s, emulator.Script{})
	r, err := b.driver.Render(task(s), in, "")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := b.send(t, s, emulator.Script{})
	if err != nil {
		t.Fatal(err)
	}
	a := b.driver.Classify(s.Model, r.Body, reply)
	if a.Outcome != provider.Accepted || a.ID == "" || len(a.Ref) == 0 || a.Result == nil {
		t.Fatalf("%d %.300s: %+v, want accepted with a result", reply.Status, reply.Body, a)
	}
	if snap := a.Result; snap.State != provider.Succeeded || len(snap.Outputs)+len(snap.Values)+len(snap.Raw) == 0 {
		t.Errorf("result %+v", snap)
	}
	b.download(t, *a.Result)
	if r.Timeout == 0 || r.MaxReplyBytes == 0 {
		t.Errorf("the request is bounded as one that only begins: %v, %d bytes", r.Timeout, r.MaxReplyBytes)
	}
	again := b.driver.Classify(s.Model, r.Body, reply)
	if again.ID != a.ID || string(again.Ref) != string(a.Ref) {
		t.Errorf("read again it is %s, was %s", again.ID, a.ID)
	}
	var fe *events.FieldError
	if ref, err := b.driver.Ref(s.Model, a.ID); !errors.As(err, &fe) {
		t.Errorf("Ref of what cannot be asked about: %s, %v", ref, err)
	}
	_, err = b.driver.Poll(t.Context(), a.Ref)
	typed(t, "a poll of what cannot be asked about", err)
	hides(t, "the answer", a)
	if jobs := b.ledger.Jobs(); len(jobs) != 1 || !jobs[0].Answered {
		t.Errorf("the ledger has %d jobs", len(jobs))
	}
}
