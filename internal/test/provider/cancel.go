package providertest

import (
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	"reelay/internal/provider"
)

func testCancel(t *testing.T, h Harness) {
	if !h.Features.Cancel {
		return // testCancelUnsupported
	}
	b := newBench(t, h)
	ref := b.accepted(t, h.Samples[0], queued()).Ref
	got, err := b.driver.Cancel(t.Context(), ref)
	if err != nil || got != provider.CancelRequested && got != provider.CancelDone {
		t.Fatalf("cancel in the queue: %s, %v, want requested or cancelled", got, err)
	}
	if s := b.poll(t, ref); s.State != provider.Cancelled || len(s.Outputs) != 0 {
		t.Errorf("after the cancel: %s, want cancelled", s.State)
	}

	done := b.accepted(t, h.Samples[0], finished()).Ref
	for range 2 {
		got, err = b.driver.Cancel(t.Context(), done)
		if err != nil || got != provider.CancelTooLate {
			t.Errorf("cancel after the end: %s, %v, want too_late", got, err)
		}
		if s := b.poll(t, done); s.State != provider.Succeeded {
			t.Fatalf("a cancel that came too late made it %s: a paid result is lost", s.State)
		}
	}

	script := queued()
	script.Cancel = "ignored"
	kept := b.accepted(t, h.Samples[0], script).Ref
	if got, err := b.driver.Cancel(t.Context(), kept); err != nil || got == provider.CancelNotFound ||
		got == provider.CancelUnsupported {
		t.Errorf("a cancel that is ignored: %s, %v", got, err)
	}
	if s := b.poll(t, kept); s.State != provider.Queued {
		t.Errorf("after a cancel that was ignored: %s, want queued", s.State)
	}

	live := b.accepted(t, h.Samples[0], queued()).Ref
	for name, fault := range faults() {
		b.meets(fault)
		got, err := b.driver.Cancel(t.Context(), live)
		b.meets(nil)
		if e := typed(t, "cancel, "+name, err); e.Kind != events.KindRetry && e.Kind != events.KindInternal {
			t.Errorf("cancel, %s: kind %s, want retry or internal", name, e.Kind)
		}
		if got != "" {
			t.Errorf("cancel, %s: %s beside an error", name, got)
		}
	}
}

func testCancelUnsupported(t *testing.T, h Harness) {
	if h.Features.Cancel {
		return // testCancel
	}
	b := newBench(t, h)
	ref := b.accepted(t, h.Samples[0], emulator.Script{Stall: "running"}).Ref
	before := b.calls.Load()
	if got, err := b.driver.Cancel(t.Context(), ref); err != nil || got != provider.CancelUnsupported {
		t.Errorf("cancel: %s, %v, want unsupported", got, err)
	}
	if n := b.calls.Load() - before; n != 0 {
		t.Errorf("an unsupported cancel made %d calls", n)
	}
}
