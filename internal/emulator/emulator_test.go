package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var epoch = time.Date(2026, time.March, 1, 12, 0, 0, 123_000_000, time.UTC)

// job is a job with every field set.
func job(id string) Job {
	cancelled := epoch.Add(time.Minute)
	return Job{
		Provider: "fal", ID: id, Model: "m", At: epoch, Correlation: "https://callbacks.example/cb/1",
		BodySHA256: strings.Repeat("a", 64), Input: json.RawMessage(`{"prompt":"a heron","seed":12345678901234567890}`),
		Answered: true, CancelledAt: &cancelled, Extra: map[string]string{"api": "v2"}, PriceUSD: 0.35,
	}
}

func open(t *testing.T, path string) *Ledger {
	t.Helper()
	l, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// reopen closes l, as a process that ends does, and opens its file again.
func reopen(t *testing.T, l *Ledger, path string) *Ledger {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func accept(t *testing.T, l *Ledger, jobs ...Job) {
	t.Helper()
	for _, j := range jobs {
		if _, err := l.Accept(j); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(l *Ledger) string {
	var all []string
	for _, j := range l.Jobs() {
		all = append(all, j.ID)
	}
	return strings.Join(all, " ")
}

func wantJob(t *testing.T, l *Ledger, want Job) {
	t.Helper()
	got, ok := l.Job(want.ID)
	if got.Seq == 0 {
		t.Errorf("job %s has no number", want.ID)
	}
	want.Seq = got.Seq
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("job %s: %+v, found %v, want %+v", want.ID, got, ok, want)
	}
}

// Every test of this table runs over a ledger in memory and one over a file that is opened again before it is looked
// at.
func eachLedger(t *testing.T, test func(t *testing.T, l *Ledger, again func() *Ledger)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		l := new(Ledger)
		test(t, l, func() *Ledger { return l })
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger.jsonl")
		l := open(t, path)
		test(t, l, func() *Ledger { return reopen(t, l, path) })
	})
}

func TestLedgerRemembersJobsInOrder(t *testing.T) {
	eachLedger(t, func(t *testing.T, l *Ledger, again func() *Ledger) {
		accept(t, l, job("c"), job("a"), job("b"))
		l = again()
		if got := ids(l); got != "c a b" {
			t.Errorf("jobs %s, want them as they were accepted: c a b", got)
		}
		for _, id := range []string{"a", "b", "c"} {
			wantJob(t, l, job(id))
		}
		if _, ok := l.Job("d"); ok {
			t.Error("a job that nobody accepted was found")
		}
	})
}

func TestLedgerUpdate(t *testing.T) {
	eachLedger(t, func(t *testing.T, l *Ledger, again func() *Ledger) {
		accept(t, l, job("a"), job("b"))
		late := epoch.Add(time.Hour)
		change := func(j *Job) { j.CancelledAt, j.Extra = &late, map[string]string{"deleted": "1"} }
		if err := l.Update("a", change); err != nil {
			t.Fatal(err)
		}
		if err := l.Update("nobody", func(*Job) { t.Error("a job that is not there was changed") }); err != nil {
			t.Errorf("update of a job that is not there: %v", err)
		}
		l = again()
		want := job("a")
		change(&want)
		wantJob(t, l, want)
		wantJob(t, l, job("b"))
		if got := ids(l); got != "a b" {
			t.Errorf("jobs %s, want a b: a change is not another job and does not move it", got)
		}
	})
}

func TestLedgerGivesCopies(t *testing.T) {
	l := new(Ledger)
	accept(t, l, job("a"))
	j, _ := l.Job("a")
	j.Model = "changed"
	l.Jobs()[0].Model = "changed"
	l.Calls()["submit"] = 9
	wantJob(t, l, job("a"))
	if n := l.Calls()["submit"]; n != 0 {
		t.Errorf("%d calls, want 0", n)
	}
}

// A crash can cut off the last line anywhere. The jobs before it are there, and so are those accepted afterwards, also
// when the ledger is opened once more.
func TestLedgerAfterACutOffLine(t *testing.T) {
	line, err := json.Marshal(job("torn"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, tail string
		want       string // the jobs, "new" being accepted after the crash
	}{
		{"nothing of it", "", "a b new"},
		{"its first character", "{", "a b new"},
		{"half of it", string(line[:len(line)/2]), "a b new"},
		{"all but its brace", string(line[:len(line)-1]), "a b new"},
		{"all but its line end", string(line), "a b torn new"},
		{"another text", "garbage", "a b new"},
		{"zeros, as some file systems leave them", strings.Repeat("\x00", 512), "a b new"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.jsonl")
			l := open(t, path)
			accept(t, l, job("a"), job("b"))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(row.tail); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}

			l = open(t, path)
			if got, want := ids(l), strings.TrimSuffix(row.want, " new"); got != want {
				t.Errorf("after the crash: jobs %s, want %s", got, want)
			}
			accept(t, l, job("new"))
			for range 2 {
				l = reopen(t, l, path)
				if got := ids(l); got != row.want {
					t.Errorf("opened again: jobs %s, want %s", got, row.want)
				}
			}
			wantJob(t, l, job("new"))
		})
	}
}

func TestLedgerErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenLedger(filepath.Join(dir, "none", "ledger")); !errors.Is(err, fs.ErrNotExist) ||
		!strings.HasPrefix(err.Error(), "ledger: ") {
		t.Errorf("without a directory: %v", err)
	}
	if _, err := OpenLedger(dir); err == nil || !strings.HasPrefix(err.Error(), "ledger: ") {
		t.Errorf("a directory: %v", err)
	}
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, []byte(strings.Repeat("x", 5<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLedger(long); err == nil || !strings.Contains(err.Error(), "token too long") {
		t.Errorf("a line over the limit: %v", err)
	}

	path := filepath.Join(dir, "ledger")
	l := open(t, path)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// An emulator that cannot write its ledger must not say that it has accepted a job.
	if _, err := l.Accept(job("a")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("accepted without a file: %v", err)
	}
	if err := l.Update("a", func(*Job) {}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("changed without a file: %v", err)
	}
	if err := new(Ledger).Close(); err != nil {
		t.Errorf("closing a ledger in memory: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want it to be the owner's only", info.Mode(), err)
	}
}

// The oldest jobs are forgotten beyond the bound; those that stay are found and keep their order.
func TestLedgerIsBounded(t *testing.T) {
	l := new(Ledger)
	for i := range MaxJobs + 1 {
		l.put(Job{ID: strconv.Itoa(i)})
	}
	if n := len(l.Jobs()); n != MaxJobs-MaxJobs/10+1 {
		t.Errorf("%d jobs, want %d", n, MaxJobs-MaxJobs/10+1)
	}
	first, last := strconv.Itoa(MaxJobs/10), strconv.Itoa(MaxJobs)
	if all := l.Jobs(); all[0].ID != first || all[len(all)-1].ID != last {
		t.Errorf("from %s to %s, want from %s to %s", all[0].ID, all[len(all)-1].ID, first, last)
	}
	if _, ok := l.Job(strconv.Itoa(MaxJobs/10 - 1)); ok {
		t.Error("a job that was forgotten is found")
	}
	for _, id := range []string{first, last, strconv.Itoa(MaxJobs / 2)} {
		if j, ok := l.Job(id); !ok || j.ID != id {
			t.Errorf("job %s: %+v, found %v", id, j, ok)
		}
	}
}

func TestLedgerCountsAndServes(t *testing.T) {
	l := new(Ledger)
	accept(t, l, job("a"))
	for range 3 {
		l.Call("status")
	}
	l.Call("submit")
	w := httptest.NewRecorder()
	l.ServeHTTP(w, httptest.NewRequest("GET", "/ledger", nil))
	var got struct {
		Jobs  []Job
		Calls map[string]int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"status": 3, "submit": 1}; !reflect.DeepEqual(got.Calls, want) ||
		!reflect.DeepEqual(l.Calls(), want) {
		t.Errorf("calls %v and %v, want %v", got.Calls, l.Calls(), want)
	}
	want := []Job{job("a")}
	want[0].Seq = 1
	if !reflect.DeepEqual(got.Jobs, want) {
		t.Errorf("jobs %+v, want %+v", got.Jobs, want)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %s", got)
	}
}

// Run with -race: everything at once, and no line of the file is mixed up with another.
func TestLedgerIsSafeForConcurrentUse(t *testing.T) {
	const writers, each = 8, 25
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := open(t, path)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", w, i)
				_, err := l.Accept(job(id))
				if err := errors.Join(err, l.Update(id, func(j *Job) { j.Model = id })); err != nil {
					t.Error(err)
				}
				l.Call("submit")
				_, _ = l.Job(id)
				_, _ = l.Jobs(), l.Calls()
			}
		})
	}
	wg.Wait()
	if n := l.Calls()["submit"]; n != writers*each {
		t.Errorf("%d calls, want %d", n, writers*each)
	}
	order := ids(l)
	l = reopen(t, l, path)
	if ids(l) != order || len(l.Jobs()) != writers*each {
		t.Errorf("%d jobs after opening again, want %d in the same order", len(l.Jobs()), writers*each)
	}
	for _, j := range l.Jobs() {
		if j.Model != j.ID {
			t.Errorf("job %s: its change is lost", j.ID)
		}
	}
}
