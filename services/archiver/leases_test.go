package archiver

import (
	"errors"
	"testing"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/artifact"
)

// TestFileLeases: a file that the store has already stays from the moment that a task finds it until a record names it, also
// when another task finds it, and none is found that is being deleted.
func TestFileLeases(t *testing.T) {
	w := newKinds(t)
	s, ctx := w.s, t.Context()
	o, err := w.settled(t, "whole", 0)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := nameOf(o.StoredURL)
	files := []artifact.File{{Name: n, Size: o.Size}}
	one, two := events.Key{Project: "demo", ID: "one"}, events.Key{Project: "demo", ID: "two"}
	wantKept := func(why string) {
		t.Helper()
		d, err := s.deleteUnnamed(ctx, "demo", files, events.Key{})
		if err != nil || len(d.gone) > 0 || d.named != 1 {
			t.Errorf("%s: %+v, %v", why, d, err)
		}
		if _, err := s.o.Store.Stat(ctx, n); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
	for _, k := range []events.Key{one, two} {
		if there, err := s.inStore(ctx, k, n, o.Size); !there || err != nil {
			t.Fatalf("%s finds it: %t, %v", k, there, err)
		}
		wantKept("found by " + k.ID)
	}
	s.release(ctx, n, one) // which two has taken over
	wantKept("given back by one")
	s.release(ctx, n, two)

	revision, err := s.lease(ctx, n, "", bucket.DeleteFileTTL)
	if err != nil {
		t.Fatal(err)
	}
	if there, err := s.inStore(ctx, one, n, o.Size); there || !errors.Is(err, errLeased) {
		t.Errorf("found while it is being deleted: %t, %v", there, err)
	}
	wantKept("deleted by another")
	s.giveBack(ctx, n, revision)

	d, err := s.deleteUnnamed(ctx, "demo", files, events.Key{})
	if err != nil || len(d.gone) != 1 || d.named > 0 {
		t.Errorf("named by nobody: %+v, %v", d, err)
	}
	if there, err := s.inStore(ctx, one, n, o.Size); there || err != nil {
		t.Errorf("after the delete: %t, %v", there, err)
	}
}
