package quota

import (
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

// TestRates: a minute's worth may come at once, and then as much as the rate says, by the times at which requests were
// stored; also where they are taken in out of turn. Another project has its own.
func TestRates(t *testing.T) {
	q := New(nil, nil)
	q.set["a"] = operator.ProjectQuota{Set: bucket.Quota{RequestsPerSecond: 1, BytesPerSecond: 20_000}}
	i := NewIntake(q)
	at := time.Now().Add(time.Hour)
	for n := range bucket.QuotaBurst {
		if over := i.Admit("a", at.Add(-time.Duration(n)*time.Minute), 10, false); over != nil {
			t.Fatalf("request %d: %v", n, over)
		}
	}
	over := i.Admit("a", at, 10, false)
	if over == nil || over.Code != events.CodeOverLimit || over.Field != bucket.QuotaRequests || !over.Retryable {
		t.Errorf("over the rate of requests: %v", over)
	}
	if over := i.Admit("b", at, 10, false); over != nil {
		t.Error(over)
	}
	if over := i.Admit("a", at, 10, true); over != nil {
		t.Errorf("one that is tried again: %v", over)
	}
	at = at.Add(time.Minute)
	if over := i.Admit("a", at, 1_195_000, false); over != nil {
		t.Error(over)
	}
	if over := i.Admit("a", at, 20_000, false); over == nil || over.Field != bucket.QuotaBytes {
		t.Errorf("over the rate of bytes: %v", over)
	}
	if over := i.Admit("a", at.Add(2*time.Second), 20_000, false); over != nil {
		t.Error(over)
	}
}

// TestBacklog: requests that were stored at a rate which was allowed then are taken in at once later.
func TestBacklog(t *testing.T) {
	q := New(nil, nil)
	q.set["a"] = operator.ProjectQuota{Set: bucket.Quota{RequestsPerSecond: 1}}
	i := NewIntake(q)
	i.See(events.Key{Project: "a", ID: "1"}, true)
	at := time.Now().Add(-time.Hour)
	for n := range 4 * bucket.QuotaBurst {
		if over := i.Admit("a", at.Add(time.Duration(n)*time.Second), 10, false); over != nil {
			t.Fatalf("request %d: %v", n, over)
		}
	}
}

// TestLargest: a request of any size may be handed in, however little may be in the long run, and by default a whole
// batch at once.
func TestLargest(t *testing.T) {
	q := New(nil, nil)
	q.set["a"] = operator.ProjectQuota{Set: bucket.Quota{BytesPerSecond: 1}}
	i := NewIntake(q)
	at := time.Now()
	if over := i.Admit("a", at, events.MaxRequestBytes, false); over != nil {
		t.Error(over)
	}
	for n := range events.MaxBatch {
		if over := i.Admit("b", at, 2<<10, false); over != nil {
			t.Fatalf("request %d: %v", n, over)
		}
	}
}

// TestManyProjects: those that do nothing are forgotten, and those with waiting tasks are not.
func TestManyProjects(t *testing.T) {
	i := NewIntake(New(nil, nil))
	i.See(events.Key{Project: "busy", ID: "1"}, true)
	long := time.Now().Add(-time.Hour)
	for n := range manyProjects {
		i.project(string(rune('a'+n%26)) + time.Duration(n).String()).seen = long
	}
	if n := len(i.projects); n > 2 || i.projects["busy"] == nil {
		t.Errorf("%d projects are known", n)
	}
}
