package emulator

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"
)

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want it to be the owner's only", info.Mode())
	}
	return info.Size()
}

// A file that holds mostly former states shrinks when it is opened, and holds the same jobs, then and later.
func TestLedgerIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := open(t, path)
	for i := range 10 {
		accept(t, l, job(strconv.Itoa(i)))
	}
	limits := []Concurrency{{At: epoch, Limit: 2}, {At: epoch.Add(time.Minute), Limit: 0}}
	for _, c := range limits {
		if err := l.SetConcurrency(c); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 {
		for i := range 10 {
			if err := l.Update(strconv.Itoa(i), func(j *Job) { j.Model = strconv.Itoa(n) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A former try to write it anew was cut off.
	if err := os.WriteFile(path+".new", []byte(`{"id":"half`), 0o600); err != nil {
		t.Fatal(err)
	}
	before, jobs := size(t, path), l.Jobs()
	l = reopen(t, l, path)
	if after := size(t, path); after > before/10 {
		t.Errorf("%d bytes, %d before", after, before)
	}
	if _, err := os.Stat(path + ".new"); !os.IsNotExist(err) {
		t.Errorf("the new file is beside the old one: %v", err)
	}
	accept(t, l, job("new"))
	for range 2 {
		l = reopen(t, l, path)
		all := l.Jobs()
		if len(all) != 11 || !reflect.DeepEqual(all[:10], jobs) || all[10].Seq != 11 {
			t.Fatalf("jobs %+v, want %+v and a new one with the number 11", all, jobs)
		}
		if got := l.Concurrencies(); !reflect.DeepEqual(got, limits) {
			t.Errorf("limits %+v, want %+v", got, limits)
		}
	}
}

// A file that is mostly what it holds is left alone.
func TestLedgerIsNotWrittenAnewForNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := open(t, path)
	for i := range 100 {
		accept(t, l, job(strconv.Itoa(i)))
		if err := l.Update(strconv.Itoa(i), func(j *Job) { j.Answered = true }); err != nil {
			t.Fatal(err)
		}
	}
	before := size(t, path)
	reopen(t, l, path)
	if after := size(t, path); after != before {
		t.Errorf("%d bytes, %d before", after, before)
	}
}
