package events_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"reelay/events"
)

func TestValidToken(t *testing.T) {
	for _, s := range []string{"a", "Z", "0", "_", "-", "default", events.InvalidProject, strings.Repeat("x", 64)} {
		if !events.ValidToken(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{
		"", strings.Repeat("x", 65), ".", "a.b", "*", ">", "a*", "$SYS", " ", "a b", "a ", "\t", "a\n", "\na", "\x00", "\x7f",
		"\u00a0", "é", "ａ", "\u202e", "a\u200b", "\xff", "a/b", `a\b`, "a:b", "a=b", "a+b", "a,b", `"`, "a'", "%2e",
		"\u2024",
	} {
		if events.ValidToken(s) {
			t.Errorf("%q is accepted", s)
		}
	}
}

// parsed is what any of the parsers reads.
type parsed struct {
	lane string
	key  events.Key
	word string
}

// A form is one subject with a builder and a parser.
type form struct {
	name  string
	build func(parsed) string
	parse func(string) (parsed, error)
	lane  bool     // has a lane
	words []string // the words of the last token, if it is one of a list
	err   error    // what a malformed one matches
}

func forms() []form {
	key := func(build func(events.Key) string,
		parse func(string) (events.Key, error),
	) (func(parsed) string, func(string) (parsed, error)) {
		return func(p parsed) string { return build(p.key) }, func(s string) (parsed, error) {
			k, err := parse(s)
			return parsed{key: k}, err
		}
	}
	lane := func(build func(string, events.Key) string,
		parse func(string) (string, events.Key, error),
	) (func(parsed) string, func(string) (parsed, error)) {
		return func(p parsed) string { return build(p.lane, p.key) }, func(s string) (parsed, error) {
			l, k, err := parse(s)
			return parsed{lane: l, key: k}, err
		}
	}
	all := []form{
		{name: "key", err: events.ErrSubject},
		{name: "record", err: events.ErrSubject},
		{name: "due", err: events.ErrSubject},
		{name: "watch", err: events.ErrSubject, lane: true},
		{name: "callback", err: events.ErrSubject, lane: true},
		{name: "artifact", err: events.ErrSubject},
		{
			name: "event", err: events.ErrSubject, words: wordsOf(events.EventTypes()),
			build: func(p parsed) string { return events.EventSubject(p.key, events.EventType(p.word)) },
			parse: func(s string) (parsed, error) {
				k, et, err := events.ParseEventSubject(s)
				return parsed{key: k, word: string(et)}, err
			},
		},
		{
			name: "command", err: events.ErrInvalid, words: []string{"cancel", "resolve"},
			build: func(p parsed) string { return events.CommandSubject(p.key, events.CommandVerb(p.word)) },
			parse: func(s string) (parsed, error) {
				k, v, err := events.ParseCommandSubject(s)
				return parsed{key: k, word: string(v)}, err
			},
		},
		{
			name: "request", err: events.ErrInvalid, words: wordsOf(events.TaskTypes()),
			build: func(p parsed) string { return events.RequestSubject(p.key.Project, events.TaskType(p.word)) },
			parse: func(s string) (parsed, error) {
				project, tt, err := events.ParseRequestSubject(s)
				return parsed{key: events.Key{Project: project}, word: string(tt)}, err
			},
		},
	}
	all[0].build, all[0].parse = key(events.Key.String, events.ParseKey)
	all[1].build, all[1].parse = key(events.RecordSubject, events.ParseRecordSubject)
	all[2].build, all[2].parse = key(events.HeartbeatSubject, events.ParseHeartbeatSubject)
	all[3].build, all[3].parse = lane(events.PollSubject, events.ParsePollSubject)
	all[4].build, all[4].parse = lane(events.CallbackSubject, events.ParseCallbackSubject)
	all[5].build, all[5].parse = key(events.ArtifactSubject, events.ParseArtifactSubject)
	return all
}

func wordsOf[T ~string](all []T) []string {
	words := make([]string, len(all))
	for i, w := range all {
		words[i] = string(w)
	}
	return words
}

// draw draws what the form carries.
func (f form) draw(t *rapid.T) parsed {
	p := parsed{key: events.Key{Project: genToken().Draw(t, "project")}}
	if f.name != "request" {
		p.key.ID = genToken().Draw(t, "task")
	}
	if f.lane {
		p.lane = genToken().Draw(t, "lane")
	}
	if f.words != nil {
		p.word = rapid.SampledFrom(f.words).Draw(t, "word")
	}
	return p
}

func TestSubjectRoundTrip(t *testing.T) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := f.draw(t)
				got, err := f.parse(f.build(want))
				if err != nil || got != want {
					t.Fatalf("%s: read %+v, %v, want %+v", f.build(want), got, err, want)
				}
			})
		})
	}
}

// Nothing that a stranger puts into a token makes a subject that another parser, or the broker, reads in another way.
func TestSubjectInjection(t *testing.T) {
	genBad := rapid.OneOf(
		rapid.SampledFrom([]string{
			"", ".", "*", ">", " ", "a.b", "a.>", "a.*", ".a", "a.", "a b", "\t", "a\n", "\r\nPUB x 0", "\x00", "\x7f", "é",
			"ａ", "\u2024", "\xff", strings.Repeat("x", 65),
		}),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.StringMatching(`[A-Za-z0-9_-]{0,5}`).Draw(t, "before") +
				rapid.StringMatching(`[^A-Za-z0-9_-]`).Draw(t, "bad") + rapid.StringMatching(`[A-Za-z0-9_-]{0,5}`).Draw(t, "after")
		}),
	)
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				p := f.draw(t)
				targets := []*string{&p.key.Project}
				if f.name != "request" {
					targets = append(targets, &p.key.ID)
				}
				if f.lane {
					targets = append(targets, &p.lane)
				}
				if f.words != nil {
					targets = append(targets, &p.word)
				}
				*rapid.SampledFrom(targets).Draw(t, "target") = genBad.Draw(t, "text")
				if got, err := f.parse(f.build(p)); err == nil {
					t.Fatalf("%q is read as %+v", f.build(p), got)
				} else if !errors.Is(err, f.err) && !errors.Is(err, events.ErrUnknownType) {
					t.Fatalf("%q: error %v, want %v", f.build(p), err, f.err)
				}
			})
		})
	}
}

func TestMalformedSubjects(t *testing.T) {
	const rule = " is not 1 to 64 characters of A-Z a-z 0-9 _ -"
	parsers := map[string]form{}
	for _, f := range forms() {
		parsers[f.name] = f
	}
	for _, row := range []struct {
		form, subject string
		is            error
		want          string
	}{
		{"request", "", events.ErrInvalid, `subject: "" is not reelay.request.<project>.<task_type>`},
		{
			"request", "reelay.request.p", events.ErrInvalid,
			`subject: "reelay.request.p" is not reelay.request.<project>.<task_type>`,
		},
		{
			"request", "reelay.request.p.video.x", events.ErrInvalid,
			`subject: "reelay.request.p.video.x" is not reelay.request.<project>.<task_type>`,
		},
		{
			"request", "reelay.requests.p.video", events.ErrInvalid,
			`subject: "reelay.requests.p.video" is not reelay.request.<project>.<task_type>`,
		},
		{"request", "p.video", events.ErrInvalid, `subject: "p.video" is not reelay.request.<project>.<task_type>`},
		{"request", "reelay.request.p p.video", events.ErrInvalid, `subject: project "p p"` + rule},
		{"request", "reelay.request..video", events.ErrInvalid, `subject: project ""` + rule},
		{
			"request", "reelay.request.p.vidoe", events.ErrInvalid,
			`subject: task type "vidoe" is not one of video, image, audio, speech, voice, music`,
		},
		{
			"request", "reelay.request.p.", events.ErrInvalid,
			`subject: task type "" is not one of video, image, audio, speech, voice, music`,
		},
		{
			"command", "reelay.command.p.t", events.ErrInvalid,
			`subject: "reelay.command.p.t" is not reelay.command.<project>.<task>.<verb>`,
		},
		{
			"command", "reelay.request.p.t.cancel", events.ErrInvalid,
			`subject: "reelay.request.p.t.cancel" is not reelay.command.<project>.<task>.<verb>`,
		},
		{
			"command", "reelay.command.p.t.u.cancel", events.ErrInvalid,
			`subject: "reelay.command.p.t.u.cancel" is not reelay.command.<project>.<task>.<verb>`,
		},
		{"command", "reelay.command.p*.t.cancel", events.ErrInvalid, `subject: project "p*"` + rule},
		{"command", "reelay.command.p.t:1.cancel", events.ErrInvalid, `subject: task "t:1"` + rule},
		{"command", "reelay.command.p.t.stop", events.ErrInvalid, `subject: verb "stop" is not cancel or resolve`},
		{"key", "p", events.ErrSubject, `not a reelay subject: key "p" is not <project>.<task>`},
		{"key", "p.t.u", events.ErrSubject, `not a reelay subject: key "p.t.u" is not <project>.<task>`},
		{"key", "p.", events.ErrSubject, `not a reelay subject: key "p." is not <project>.<task>`},
		{
			"record", "$KV.reelay_tasks", events.ErrSubject,
			`not a reelay subject: "$KV.reelay_tasks" does not begin with $KV.reelay_tasks.`,
		},
		{"record", "$KV.reelay_tasks.p.*", events.ErrSubject, `not a reelay subject: key "p.*" is not <project>.<task>`},
		{
			"record", "$KV.other.p.t", events.ErrSubject,
			`not a reelay subject: "$KV.other.p.t" does not begin with $KV.reelay_tasks.`,
		},
		{"due", "reelay.heartbeat.p", events.ErrSubject, `not a reelay subject: key "p" is not <project>.<task>`},
		{
			"due", "reelay.poll.l.p.t", events.ErrSubject,
			`not a reelay subject: "reelay.poll.l.p.t" does not begin with reelay.heartbeat.`,
		},
		{"watch", "reelay.poll.p.t", events.ErrSubject, `not a reelay subject: key "t" is not <project>.<task>`},
		{
			"watch", "reelay.poll.l", events.ErrSubject,
			`not a reelay subject: "reelay.poll.l" is not reelay.poll.<lane>.<project>.<task>`,
		},
		{
			"watch", "reelay.poll.*.p.t", events.ErrSubject,
			`not a reelay subject: "reelay.poll.*.p.t" is not reelay.poll.<lane>.<project>.<task>`,
		},
		{
			"callback", "reelay.poll.l.p.t", events.ErrSubject,
			`not a reelay subject: "reelay.poll.l.p.t" is not reelay.callback.<lane>.<project>.<task>`,
		},
		{
			"callback", "reelay.callback.l.p.t.u", events.ErrSubject,
			`not a reelay subject: key "p.t.u" is not <project>.<task>`,
		},
		{
			"event", "reelay.event.completed", events.ErrSubject,
			`not a reelay subject: "reelay.event.completed" is not an event subject`,
		},
		{
			"event", "reelay.events.p.t.completed", events.ErrSubject,
			`not a reelay subject: "reelay.events.p.t.completed" is not an event subject`,
		},
		{"event", "reelay.event.p.completed", events.ErrSubject, `not a reelay subject: key "p" is not <project>.<task>`},
		{"event", "reelay.event.p.t.throttled", events.ErrUnknownType, `unknown event type: "reelay.event.p.t.throttled"`},
		{"event", "reelay.event.p.t.*", events.ErrUnknownType, `unknown event type: "reelay.event.p.t.*"`},
	} {
		_, err := parsers[row.form].parse(row.subject)
		if !errors.Is(err, row.is) || err.Error() != row.want {
			t.Errorf("%s of %q: error %v, want %q", row.form, row.subject, err, row.want)
		}
	}
}

// The intake answers a malformed subject under the project or task it could read.
func TestMalformedSubjectsGiveWhatCouldBeRead(t *testing.T) {
	if project, _, err := events.ParseRequestSubject("reelay.request.demo.vidoe"); err == nil || project != "demo" {
		t.Errorf("project %q, %v", project, err)
	}
	if k, _, err := events.ParseCommandSubject("reelay.command.demo.t.stop"); err == nil ||
		k != (events.Key{Project: "demo", ID: "t"}) {
		t.Errorf("key %v, %v", k, err)
	}
	if project, _, err := events.ParseRequestSubject("reelay.request.a b.video"); err == nil || project != "" {
		t.Errorf("project %q, %v", project, err)
	}
	if k, _, err := events.ParseCommandSubject("reelay.command.demo.a b.cancel"); err == nil || k != (events.Key{}) {
		t.Errorf("key %v, %v", k, err)
	}
}

func TestAPISubject(t *testing.T) {
	for want, got := range map[string]string{
		"reelay.api.list":              events.APISubject(events.VerbList),
		"reelay.api.list.demo":         events.APISubject(events.VerbList, "demo"),
		"reelay.api.get.demo.shot-042": events.APISubject(events.VerbGet, "demo", "shot-042"),
	} {
		if got != want {
			t.Errorf("subject %s, want %s", got, want)
		}
	}
}
