package api

import (
	"errors"
	"testing"

	"reelay/events"
)

// TestSlots: a project that takes all it can get leaves some for every other, and takes no more than its quota. The
// operator is bounded by neither.
func TestSlots(t *testing.T) {
	s := &slots{name: "waits", size: 10, held: map[string]int{}}
	for _, tt := range []struct {
		project     string
		quota, gets int
	}{{"a", 10, 5}, {"b", 2, 2}, {"c", 1, 1}, {"d", 10, 1}, {"", 0, 1}} {
		for n := range 9 {
			if err := s.take(tt.project, tt.quota); (err == nil) != (n < tt.gets) {
				t.Fatalf("slot %d of %s: %v", n+1, tt.project, err)
			}
		}
	}
	for range 5 {
		s.give("a")
	}
	if s.used != 5 || len(s.held) != 4 {
		t.Errorf("%d of %v", s.used, s.held)
	}
	if err := s.take("c", 3); err != nil {
		t.Error(err)
	}
	var f *Error
	if err := s.take("b", 2); !errors.As(err, &f) || f.Status != 429 || f.Body.Code != events.CodeOverLimit || f.Body.Field != "waits" {
		t.Errorf("over its quota: %v", err)
	}
}
