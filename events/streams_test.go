package events_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

// overlap reports whether a subject exists that both patterns match.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		if x[i] == ">" || y[i] == ">" {
			return true
		}
		if x[i] != y[i] && x[i] != "*" && y[i] != "*" {
			return false
		}
	}
	return len(x) == len(y)
}

// inside reports whether pattern matches every subject that part matches.
func inside(part, pattern string) bool {
	x, y := strings.Split(part, "."), strings.Split(pattern, ".")
	for i, token := range y {
		switch {
		case token == ">":
			return len(x) > i
		case i >= len(x) || x[i] == ">" || token != "*" && token != x[i]:
			return false
		}
	}
	return len(x) == len(y)
}

func TestPatterns(t *testing.T) {
	for _, row := range []struct {
		a, b            string
		overlap, inside bool
	}{
		{"a.b", "a.b", true, true},
		{"a.b", "a.c", false, false},
		{"a.b", "a.*", true, true},
		{"a.*", "a.b", true, false},
		{"a.*", "*.b", true, false},
		{"a.b.c", "a.>", true, true},
		{"a.>", "a.b.c", true, false},
		{"a.>", "a.>", true, true},
		{"a", "a.>", false, false},
		{"a.b", "a.b.c", false, false},
		{"a.>", "b.>", false, false},
	} {
		if overlap(row.a, row.b) != row.overlap || overlap(row.b, row.a) != row.overlap ||
			inside(row.a, row.b) != row.inside {
			t.Errorf("%s and %s: overlap %v, inside %v", row.a, row.b, overlap(row.a, row.b), inside(row.a, row.b))
		}
	}
}

func TestStreams(t *testing.T) {
	all := events.Streams()
	names := map[string]bool{}
	for i, s := range all {
		if s.Name == "" || names[s.Name] || strings.ContainsAny(s.Name, ".*> ") {
			t.Errorf("stream %d: name %q is empty, double or not valid", i, s.Name)
		}
		names[s.Name] = true
		if s.Description == "" || len(s.Subjects) == 0 {
			t.Errorf("%s has no description or no subjects", s.Name)
		}
		if s.Retention != events.Limits && s.Retention != events.WorkQueue {
			t.Errorf("%s: retention %q", s.Name, s.Retention)
		}
		if s.Retention == events.WorkQueue && (s.MaxAge != 0 || !s.DiscardNew) {
			t.Errorf("%s: work would be lost by age or by a limit", s.Name)
		}
		for _, other := range all[i+1:] {
			for _, a := range s.Subjects {
				for _, b := range other.Subjects {
					if overlap(a, b) {
						t.Errorf("%s of %s overlaps %s of %s", a, s.Name, b, other.Name)
					}
				}
			}
		}
		for _, a := range s.Subjects {
			// A question must not be stored, and the server acknowledges a request on a stream's subject in place of the
			// service.
			if overlap(a, "reelay.api.>") {
				t.Errorf("%s of %s takes in the API", a, s.Name)
			}
		}
	}
}

// Every subject that a function builds is taken in by the stream that is meant for it, and by no other.
func TestSubjectsBelongToStreams(t *testing.T) {
	k := events.Key{Project: "demo", ID: "shot-042"}
	for subject, want := range map[string]string{
		events.RequestSubject("demo", events.Video):           events.StreamRequests,
		events.CommandSubject(k, events.CommandCancel):        events.StreamRequests,
		events.CommandSubject(k, events.CommandResolve):       events.StreamRequests,
		"reelay.request.nonsense":                             events.StreamRequests,
		"reelay.command.a.b.c.d":                              events.StreamRequests,
		events.RecordSubject(k):                               events.StreamTasks,
		events.HeartbeatSubject(k):                            events.StreamTasks,
		events.PollSubject("fal", k):                          events.StreamPolls,
		events.CallbackSubject("fal", k):                      events.StreamCallbacks,
		events.EventSubject(k, events.EventQueued):            events.StreamEvents,
		events.DeadSubject(events.StreamPolls, "poller-fal"):  events.StreamDead,
		events.APISubject(events.VerbGet, k.Project, k.ID):    "",
		events.APISubject(events.VerbSubmit, "demo", "video"): "",
	} {
		var got []string
		for _, s := range events.Streams() {
			if slices.ContainsFunc(s.Subjects, func(pattern string) bool { return inside(subject, pattern) }) {
				got = append(got, s.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is taken in by %v, want %q", subject, got, want)
		}
	}
}

func TestConsumers(t *testing.T) {
	all := []events.Consumer{
		events.IntakeConsumer(), events.HeartbeatConsumer(), events.AdvisoryConsumer(), events.DeadRequestConsumer(),
		events.CallbackConsumer(), events.ArtifactConsumer(), events.PollConsumer("fal"), events.PollConsumer("fal-team2"),
		events.PollConsumer("minimax"),
	}
	names := map[string]bool{}
	for i, c := range all {
		if name := c.Stream + "/" + c.Durable; names[name] || !events.ValidToken(c.Durable) {
			t.Errorf("consumer %s is double or not valid", name)
		} else {
			names[name] = true
		}
		if c.Description == "" || c.AckWait <= 0 || c.MaxAckPending <= 0 {
			t.Errorf("%s: an empty description or no bound: %+v", c.Durable, c)
		}
		j := slices.IndexFunc(events.Streams(), func(s events.Stream) bool { return s.Name == c.Stream })
		if j < 0 {
			t.Errorf("%s reads the unknown stream %s", c.Durable, c.Stream)
			continue
		}
		s := events.Streams()[j]
		for _, f := range c.Filters {
			if !slices.ContainsFunc(s.Subjects, func(pattern string) bool { return inside(f, pattern) }) {
				t.Errorf("%s: filter %s is not inside %v", c.Durable, f, s.Subjects)
			}
		}
		// The server refuses two consumers of one work queue that would share a message.
		if s.Retention != events.WorkQueue {
			continue
		}
		for _, other := range all[i+1:] {
			if other.Stream == c.Stream &&
				(len(c.Filters) == 0 || len(other.Filters) == 0 || overlap(c.Filters[0], other.Filters[0])) {
				t.Errorf("%s and %s share messages of %s", c.Durable, other.Durable, c.Stream)
			}
		}
	}
	if f := events.PollConsumer("fal").Filters[0]; !inside(events.PollSubject("fal", events.Key{Project: "p", ID: "t"}),
		f) {
		t.Errorf("the filter %s does not match the lane's own messages", f)
	}
}

func TestAges(t *testing.T) {
	// An event that happens once stands alone on its subject. Were a record gone before the events of its task, a new task
	// with the same id could not store its own: it would end without a terminal event.
	if events.RecordAge <= events.EventAge {
		t.Errorf("records are kept %v, events %v: a task id would be free again while its events still stand",
			events.RecordAge, events.EventAge)
	}
	for _, s := range events.Streams() {
		if s.Name == events.StreamEvents && s.MaxAge != events.EventAge {
			t.Errorf("events are kept %v, want %v", s.MaxAge, events.EventAge)
		}
		// The task id is the idempotency key of a request. The server must not drop the second of two requests with one id as
		// a duplicate: the sender would wait for an answer that never comes.
		if s.Name == events.StreamRequests && s.Duplicates > time.Second {
			t.Errorf("requests with one id are dropped unanswered for %v", s.Duplicates)
		}
		if s.MaxAge > 0 && s.Duplicates > s.MaxAge {
			t.Errorf("%s: the server refuses a duplicate window over the age", s.Name)
		}
	}
}
