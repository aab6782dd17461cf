package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/failpoint"
	"reelay/internal/journal"
)

// TestCrashAfterEachStep: whatever was acknowledged before a crash is what the next process finds, and ErrClaimed is
// the answer to another try exactly when the request may have left.
func TestCrashAfterEachStep(t *testing.T) {
	begin := func(j *journal.Journal) error { return j.Begin(entry("me", 1)) }
	gate := func(j *journal.Journal) error { return j.Gate("me") }
	answer := func(outcome string) func(*journal.Journal) error {
		return func(j *journal.Journal) error { return j.Answer("me", journal.Answer{Outcome: outcome}) }
	}
	done := func(j *journal.Journal) error { return j.Done("me") }
	type steps []func(*journal.Journal) error
	rows := []struct {
		name    string
		steps   steps
		pending []string
		claimed bool
	}{
		{"nothing", nil, nil, false},
		{"begun", steps{begin}, []string{"me begun"}, false},
		{"begun twice", steps{begin, begin}, []string{"me begun"}, false},
		{"gated", steps{begin, gate}, []string{"me gated"}, true},
		{"accepted", steps{begin, gate, answer("accepted")}, []string{"me gated, accepted"}, true},
		{"refused", steps{begin, gate, answer("refused")}, []string{"me gated, refused"}, true},
		{"in doubt", steps{begin, gate, answer("in_doubt")}, []string{"me gated, in_doubt"}, true},
		{"not sent after the gate", steps{begin, gate, answer("not_sent")}, []string{"me gated, not_sent"}, false},
		{"not sent before the gate", steps{begin, answer("not_sent")}, []string{"me begun, not_sent"}, false},
		{"refused before the gate", steps{begin, answer("refused")}, []string{"me begun, refused"}, false},
		{"done", steps{begin, gate, answer("accepted"), done}, nil, true},
		{"done, not sent", steps{begin, gate, answer("not_sent"), done}, nil, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, nil)
			for _, step := range row.steps {
				must(t, step(j))
			}
			check := func(j *journal.Journal, who string) {
				wantStates(t, j, row.pending...)
				if err := j.Begin(entry("other", 1)); errors.Is(err, journal.ErrClaimed) != row.claimed ||
					!row.claimed && err != nil {
					t.Errorf("%s begins again: %v, claimed %v", who, err, row.claimed)
				}
				must(t, j.Begin(entry("next", 2)))
				other := entry("stranger", 1)
				other.TaskID = "t2"
				must(t, j.Begin(other))
			}
			found := afterCrash(t, dir)
			check(j, "the same process")
			next := open(t, found, nil)
			check(next, "the next process")
			must(t, next.Close())
			// What was taken over is in a file of the one who took it.
			third := open(t, found, nil)
			if err := third.Begin(entry("third", 1)); errors.Is(err, journal.ErrClaimed) != row.claimed {
				t.Errorf("the third process begins again: %v, claimed %v", err, row.claimed)
			}
			if n := len(files(t, found)); n != 1 {
				t.Errorf("%d files after a take-over, want one", n)
			}
		})
	}
}

// TestNothingIsForgotten: an entry comes back as it was written.
func TestNothingIsForgotten(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, nil)
	want := entry("me", 3)
	want.Gated = true
	want.Answer = &journal.Answer{
		Outcome: "refused", Ref: json.RawMessage(`{"request_id":"r1"}`), ID: "r1", Wait: 90 * time.Second,
		Error: &events.Error{Code: "1008", Kind: events.KindQuota, Message: "no balance", Charge: events.ChargeNone},
	}
	must(t, j.Begin(entry("me", 3)), j.Gate("me"), j.Answer("me", *want.Answer))
	want.At = j.Pending()[0].At
	got := open(t, afterCrash(t, dir), nil).Pending()
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("found %+v, want %+v", got, want)
	}
	if want.Key() != (events.Key{Project: "demo", ID: "t1"}) {
		t.Errorf("key %v", want.Key())
	}
}

// TestLargeResult: a result is there after a crash at any moment, also when the crash came before the line that speaks
// of it, and its file goes when it is recorded.
func TestLargeResult(t *testing.T) {
	result := json.RawMessage(`{"Raw":"` + strings.Repeat("ab", 3<<20) + `"}`)
	for name, row := range map[string]struct {
		result json.RawMessage
		lose   bool // the line of the answer
	}{
		"small": {result: json.RawMessage(`{"Raw":"ab"}`)}, "large": {result: result}, "large, and no line": {result, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, nil)
			must(t, j.Begin(entry("me", 1)), j.Gate("me"))
			before, err := os.ReadFile(files(t, dir)[0])
			must(t, err, j.Answer("me", journal.Answer{Outcome: "accepted", ID: "r1", Result: row.result}))
			found := afterCrash(t, dir)
			if row.lose {
				must(t, os.WriteFile(files(t, found)[0], before, 0o600))
			}
			next := open(t, found, nil)
			wantStates(t, next, "me gated, accepted")
			e := next.Pending()[0]
			got, err := next.Result(e)
			if err != nil || string(got) != string(row.result) || e.Answer.ID != "r1" {
				t.Fatalf("%d bytes of %s, %v; want %d", len(got), e.Answer.ID, err, len(row.result))
			}
			must(t, next.Done("me"), next.Close())
			must(t, open(t, found, nil).Close())
			if left, _ := filepath.Glob(filepath.Join(found, "*.answer")); len(left) > 0 {
				t.Errorf("%v is left of what is recorded", left)
			}
		})
	}
}

func TestUnknownOwner(t *testing.T) {
	j := open(t, t.TempDir(), nil)
	for name, err := range map[string]error{
		"gate": j.Gate("nobody"), "answer": j.Answer("nobody", journal.Answer{Outcome: "accepted"}), "done": j.Done("nobody"),
	} {
		if err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("%s of a request that was never begun: %v", name, err)
		}
	}
	wantStates(t, j)
}

// TestCutOff: whatever part of the last line a crash has left, all lines before it count and it does not.
func TestCutOff(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, nil)
	must(t, j.Begin(entry("me", 1)))
	path := files(t, dir)[0]
	before, err := os.ReadFile(path)
	must(t, err, j.Gate("me"))
	after, err := os.ReadFile(path)
	must(t, err)
	for _, length := range []int{len(before) + 1, len(before) + 30, len(after) - 2, len(after) - 1} {
		t.Run(fmt.Sprint(length-len(before)), func(t *testing.T) {
			found := t.TempDir()
			must(t, os.WriteFile(filepath.Join(found, "submit-x.journal"), after[:length], 0o600))
			next := open(t, found, nil)
			if length == len(after)-1 { // the line is whole and lacks its end
				wantStates(t, next, "me gated")
			} else {
				wantStates(t, next, "me begun")
			}
			must(t, next.Begin(entry("you", 2)), next.Gate("you"), next.Close())
			if got := states(open(t, found, nil)); !slices.Contains(got, "you gated") {
				t.Errorf("what was written after the take-over: %v", got)
			}
		})
	}
}

// TestGarbage: a line that is none of ours is passed over, and one without end.
func TestGarbage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "submit-x.journal")
	must(t, os.WriteFile(path,
		[]byte("\x00\x00\n{}\n[1]\n"+`{"owner":"me","project":"demo","task_id":"t1","attempt":1,"gated":true}`+"\n"), 0o600))
	wantStates(t, open(t, dir, nil), "me gated")

	dir = t.TempDir()
	path = filepath.Join(dir, "submit-x.journal")
	must(t, os.WriteFile(path,
		[]byte(`{"owner":"me","project":"demo","task_id":"t1","attempt":1}`+"\n"+strings.Repeat("x", 2<<20)), 0o600))
	wantStates(t, open(t, dir, nil), "me begun")
}

// TestDamaged: a line in which a byte has flipped is left out, wherever that is. As it may have said that a request has
// left, what else is in its file proves nothing any more; what has its answer is as good as before.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, nil)
	must(t, j.Begin(entry("answered", 1)), j.Gate("answered"), j.Answer("answered", journal.Answer{Outcome: "accepted", ID: "id-1"}))
	must(t, j.Begin(entry("me", 2)))
	before := contents(t, dir)
	must(t, j.Gate("me"))
	must(t, j.Begin(entry("other", 3)))
	after := contents(t, dir)
	end := len(before) + strings.Index(string(after[len(before):]), "\n")
	for at := len(before); at < end; at++ {
		broken := bytes.Clone(after)
		broken[at] ^= 1
		if broken[at] == '\n' || at < end-20 && at%4 > 0 { // every byte of the checksum, and enough of the rest
			continue
		}
		found := t.TempDir()
		must(t, os.WriteFile(filepath.Join(found, "submit-x.journal"), broken, 0o600))
		wantStates(t, open(t, found, nil), "answered gated, accepted", "me gated", "other gated")
		if kept, err := os.ReadFile(filepath.Join(found, "submit-x.journal.damaged")); !bytes.Equal(kept, broken) {
			t.Errorf("it is not kept: %v", err)
		}
	}
}

func contents(t *testing.T, dir string) []byte {
	t.Helper()
	text, err := os.ReadFile(files(t, dir)[0])
	must(t, err)
	return text
}

// TestLiveAndDead: the journal of a process that lives is left alone, those of all that do not are taken over at once.
func TestLiveAndDead(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		j := open(t, dir, nil)
		must(t, j.Begin(entry(fmt.Sprint("live", i), i+1)), j.Gate(fmt.Sprint("live", i)))
	}
	dead := afterCrash(t, dir)
	for i, path := range files(t, dead) {
		must(t, os.Rename(path, filepath.Join(dir, fmt.Sprintf("submit-dead%d.journal", i))))
	}
	all := files(t, dir)
	next := open(t, dir, nil)
	wantStates(t, next, "live0 gated", "live1 gated", "live2 gated")
	for _, path := range all {
		_, err := os.Stat(path)
		if isDead := strings.Contains(path, "dead"); isDead != errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s after the take-over: %v", filepath.Base(path), err)
		}
	}
	must(t, next.Close())
	wantStates(t, open(t, dir, nil), "live0 gated", "live1 gated", "live2 gated")
}

func TestClosedIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, nil)
	must(t, first.Begin(entry("me", 1)))
	second := open(t, dir, nil)
	wantStates(t, second)
	must(t, second.Close(), first.Close())
	wantStates(t, open(t, dir, nil), "me begun")
}

// TestClaimInAnyOrder: two processes have begun the same attempt, as when a broker has forgotten an intent. Whichever
// of their journals is read last, the request that may have left stays claimed.
func TestClaimInAnyOrder(t *testing.T) {
	left := `{"owner":"left","project":"demo","task_id":"t1","attempt":1,"gated":true}` + "\n"
	stayed := `{"owner":"stayed","project":"demo","task_id":"t1","attempt":1}` + "\n"
	for _, row := range [][2]string{{left, stayed}, {stayed, left}} {
		dir := t.TempDir()
		for i, text := range row {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("submit-%d.journal", i)), []byte(text), 0o600))
		}
		j := open(t, dir, nil)
		wantStates(t, j, "left gated", "stayed begun")
		if err := j.Begin(entry("me", 1)); !errors.Is(err, journal.ErrClaimed) {
			t.Errorf("read in the order %q: %v", row, err)
		}
	}
}

// TestClaimAge: a done attempt is remembered for ClaimAge and then forgotten; what is pending is never forgotten.
func TestClaimAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, nil)
		for _, owner := range []string{"done", "pending"} {
			e := entry(owner, 1)
			e.TaskID = owner
			must(t, j.Begin(e), j.Gate(owner), j.Answer(owner, journal.Answer{Outcome: "accepted"}))
		}
		must(t, j.Done("done"), j.Close())
		claimed := func(id string) bool {
			j := open(t, dir, nil)
			e := entry("again", 1)
			e.TaskID = id
			err := j.Begin(e)
			if err != nil && !errors.Is(err, journal.ErrClaimed) {
				t.Fatal(err)
			}
			if err == nil { // leave no trace
				must(t, j.Done("again"))
			}
			must(t, j.Close())
			return err != nil
		}
		time.Sleep(journal.ClaimAge - time.Second)
		if !claimed("done") || !claimed("pending") {
			t.Error("forgotten before ClaimAge")
		}
		time.Sleep(2 * time.Second)
		open(t, dir, nil) // the take-over that drops it
		time.Sleep(10 * journal.ClaimAge)
		if claimed("done") {
			t.Error("still claimed after ClaimAge")
		}
	})
}

// TestRewrite: a journal that has grown is written anew in the middle of its work. What is pending and what is claimed
// stays, what was done long ago goes, and no second file is left.
func TestRewrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, nil)
		large := json.RawMessage(`"` + strings.Repeat("x", 500<<10) + `"`)
		life := func(owner string, attempt int) {
			must(t, j.Begin(entry(owner, attempt)), j.Gate(owner),
				j.Answer(owner, journal.Answer{Outcome: "accepted", Ref: large}), j.Done(owner))
		}
		must(t, j.Begin(entry("pending", 1)), j.Gate("pending"))
		life("old", 2)
		time.Sleep(journal.ClaimAge + time.Minute)
		life("young", 3)
		first := files(t, dir)[0]
		for i := range 20 {
			life(fmt.Sprint("more", i), 4+i)
		}
		now := files(t, dir)
		if len(now) != 1 || now[0] == first {
			t.Fatalf("files %v, the first was %s: not written anew", now, first)
		}
		data, err := os.ReadFile(now[0])
		must(t, err)
		if strings.Contains(string(data), `"owner":"old"`) {
			t.Error("what was done long ago is still there")
		}
		for _, j := range []*journal.Journal{j, open(t, afterCrash(t, dir), nil)} {
			wantStates(t, j, "pending gated")
			for attempt, want := range map[int]bool{1: true, 2: false, 3: true} {
				if err := j.Begin(entry("again", attempt)); errors.Is(err, journal.ErrClaimed) != want {
					t.Errorf("attempt %d begun again: %v, claimed %v", attempt, err, want)
				}
			}
		}
		// The new file is as locked as the old one was.
		wantStates(t, open(t, dir, nil))
	})
}

// TestNoDirectory: without a place to write there is no journal, and so no submitter.
func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := journal.Open(file, log(t), nil); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file as directory: %v", err)
	}
}

// TestClosed: a journal that is closed permits nothing.
func TestClosed(t *testing.T) {
	j := open(t, t.TempDir(), nil)
	must(t, j.Begin(entry("me", 1)), j.Close())
	if err := j.Gate("me"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("gate: %v", err)
	}
	if err := j.Begin(entry("you", 2)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("begin: %v", err)
	}
	wantStates(t, j, "me begun")
}

// TestFailpoints: a write that is lost has not happened, one whose answer is lost has; both are errors, and after both
// the journal goes on.
func TestFailpoints(t *testing.T) {
	rows := []struct {
		point   string
		outcome failpoint.Outcome
		found   []string
	}{
		{"journal.begin", failpoint.Outcome{Lose: true}, nil},
		{"journal.begin", failpoint.Outcome{LoseAnswer: true}, []string{"me begun"}},
		{"journal.gate", failpoint.Outcome{Lose: true}, []string{"me begun"}},
		{"journal.gate", failpoint.Outcome{LoseAnswer: true}, []string{"me gated"}},
		{"journal.answer", failpoint.Outcome{Lose: true}, []string{"me gated"}},
		{"journal.answer", failpoint.Outcome{LoseAnswer: true}, []string{"me gated, accepted"}},
		{"journal.done", failpoint.Outcome{Lose: true}, []string{"me gated, accepted"}},
		{"journal.done", failpoint.Outcome{LoseAnswer: true}, nil},
	}
	for _, row := range rows {
		t.Run(fmt.Sprintf("%s %+v", row.point, row.outcome), func(t *testing.T) {
			dir, hits := t.TempDir(), 0
			j := open(t, dir, func(point string) failpoint.Outcome {
				if point != row.point || hits > 0 {
					return failpoint.Outcome{}
				}
				hits++
				return row.outcome
			})
			life := func() error {
				if err := j.Begin(entry("me", 1)); err != nil {
					return err
				}
				if err := j.Gate("me"); err != nil {
					return err
				}
				if err := j.Answer("me", journal.Answer{Outcome: "accepted"}); err != nil {
					return err
				}
				return j.Done("me")
			}
			if err := life(); !errors.Is(err, failpoint.ErrLost) {
				t.Fatalf("the caller is told %v", err)
			}
			wantStates(t, j, row.found...)
			wantStates(t, open(t, afterCrash(t, dir), nil), row.found...)
			must(t, j.Begin(entry("you", 2)))
		})
	}
}

// TestManyAtOnce: requests of several lanes share the file.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, nil)
	const lanes, each = 8, 10
	var all sync.WaitGroup
	for lane := range lanes {
		all.Go(func() {
			for i := range each {
				owner := fmt.Sprintf("%d-%d", lane, i)
				e := entry(owner, 1)
				e.TaskID = owner
				if err := errors.Join(j.Begin(e), j.Gate(owner),
					j.Answer(owner, journal.Answer{Outcome: "accepted", ID: owner})); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := j.Done(owner); err != nil {
						t.Error(err)
					}
				}
				j.Pending()
			}
		})
	}
	all.Wait()
	found := open(t, afterCrash(t, dir), nil).Pending()
	if len(found) != lanes*each/2 {
		t.Errorf("%d pending, want %d", len(found), lanes*each/2)
	}
	for _, e := range found {
		if !e.Gated || e.Answer == nil || e.Answer.ID != e.Owner {
			t.Errorf("found %+v", e)
		}
	}
}

// TestWhatIsOnDisk pins the line of a request: nothing of its headers, body or address, and so no key. Nobody else may
// read it.
func TestWhatIsOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir, nil)
	e := entry("me", 1)
	e.At = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	must(t, j.Begin(e), j.Gate("me"),
		j.Answer("me", journal.Answer{Outcome: "accepted", Ref: json.RawMessage(`{"id":"r1"}`), ID: "r1"}), j.Done("me"))
	begun := `{"owner":"me","project":"demo","task_id":"t1","attempt":1,"at":"2026-01-02T03:04:05Z"`
	gated := begun + `,"gated":true`
	answered := gated + `,"answer":{"outcome":"accepted","ref":{"id":"r1"},"id":"r1"}`
	want := begun + `,"sum":"15b00128"}` + "\n" + gated + `,"sum":"71eee3f4"}` + "\n" + answered + `,"sum":"ef8532b8"}` + "\n" +
		answered + `,"done":true,"sum":"de629294"}` + "\n"
	path := files(t, dir)[0]
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != want {
		t.Errorf("on disk:\n%swant:\n%s", got, want)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, dir: 0o700} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", filepath.Base(name), info.Mode().Perm(), mode)
		}
	}
}

// TestStartedAtOnce: processes that start and stop together take over what is dead once in all, and lose nothing.
func TestStartedAtOnce(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		owner := fmt.Sprintf("dead%d", i)
		text := fmt.Sprintf(`{"owner":%q,"project":"demo","task_id":%q,"attempt":1,"gated":true}`+"\n", owner, owner)
		must(t, os.WriteFile(filepath.Join(dir, owner+".journal"), []byte(text), 0o600))
	}
	const processes, lives = 6, 20
	var all sync.WaitGroup
	for i := range processes {
		all.Go(func() {
			for life := range lives {
				j, err := journal.Open(dir, log(t), nil)
				if err != nil {
					t.Errorf("process %d, life %d: %v", i, life, err)
					return
				}
				owner := fmt.Sprintf("%d-%d", i, life)
				e := entry(owner, 1)
				e.TaskID = owner
				if err := errors.Join(j.Begin(e), j.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := len(open(t, dir, nil).Pending()); n != 5+processes*lives {
		t.Errorf("%d are pending, want %d", n, 5+processes*lives)
	}
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files are left, want one", n)
	}
}

// TestLongLine: an answer of any length is read back.
func TestLongLine(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, nil)
	must(t, j.Begin(entry("me", 1)), j.Gate("me"))
	must(t, j.Answer("me",
		journal.Answer{Outcome: "in_doubt", Error: &events.Error{Message: strings.Repeat("x", 2<<20)}}))
	must(t, j.Begin(entry("other", 2)))
	wantStates(t, open(t, afterCrash(t, dir), nil), "me gated, in_doubt", "other begun")
}
