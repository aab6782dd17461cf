package api

import "testing"

// TestSlots: a project that takes all it can get leaves some for every other.
func TestSlots(t *testing.T) {
	s := &slots{size: 8, held: map[string]int{}}
	for _, tt := range []struct {
		project string
		gets    int
	}{{"a", 4}, {"b", 2}, {"c", 1}, {"d", 1}} {
		for n := range 9 {
			if err := s.take(tt.project); (err == nil) != (n < tt.gets) {
				t.Fatalf("slot %d of %s: %v", n+1, tt.project, err)
			}
		}
	}
	for range 4 {
		s.give("a")
	}
	if s.used != 4 || len(s.held) != 3 {
		t.Errorf("%d of %v", s.used, s.held)
	}
	if err := s.take("c"); err != nil {
		t.Error(err)
	}
}
