package minimax_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
	"reelay/internal/provider/minimax"
	"reelay/internal/secret"
)

// TestPollBatched: polls that come close together are answered by one list, and none is told of an end.
func TestPollBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sandbox.New(sandbox.Options{Speed: emulator.Speed{Run: time.Minute}, InFlight: -1})
		broken := false
		transport := roundTrip(func(r *http.Request) (*http.Response, error) { // no sockets in a bubble
			w := httptest.NewRecorder()
			if broken && r.URL.Query().Has("filter.status") {
				w.WriteHeader(http.StatusBadGateway)
			} else {
				s.ServeHTTP(w, r)
			}
			return w.Result(), nil
		})
		d, err := minimax.New(minimax.Options{Key: secret.New(testKey), Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		b := box{driver: d, ledger: s.Ledger(), transport: transport}
		refs := make([]json.RawMessage, 10)
		for i := range refs {
			refs[i] = b.accepted(t, modelV2, inputV2).Ref
		}
		old, err := b.driver.Ref(modelV1, "1")
		if err != nil {
			t.Fatal(err)
		}
		batched := func(name string, want, lists int) {
			t.Helper()
			before, seen := b.ledger.Calls()["list"], 0
			for _, ref := range refs {
				snap, ok := b.driver.PollBatched(t.Context(), ref)
				if ok {
					seen++
				}
				if ok != (snap.State == provider.Running) {
					t.Errorf("%s: %v is told, %v", name, snap.State, ok)
				}
			}
			if n := b.ledger.Calls()["list"] - before; seen != want || n != lists {
				t.Errorf("%s: %d of %d polls are answered, by %d lists; want %d by %d", name, seen, len(refs), n, want, lists)
			}
		}
		time.Sleep(10 * time.Second)
		batched("the first is alone", len(refs)-1, 1)
		batched("the list is young", len(refs), 0)
		time.Sleep(1900 * time.Millisecond)
		batched("still young", len(refs), 0)
		time.Sleep(100 * time.Millisecond)
		batched("too old", len(refs), 1)
		if _, ok := b.driver.PollBatched(t.Context(), old); ok {
			t.Error("a task of V1 is told of")
		}
		time.Sleep(time.Second)
		broken = true
		time.Sleep(time.Second)
		batched("the list fails", 0, 0)
		time.Sleep(time.Second)
		broken = false
		batched("it has failed just now", 0, 0)
		time.Sleep(59 * time.Second)
		batched("all have ended", 0, 1)
	})
}

// TestPollBatchedTogether: polls at the same time wait for one list, and not longer than they may.
func TestPollBatchedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		d, err := minimax.New(minimax.Options{
			Key: secret.New(testKey),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				lists++
				time.Sleep(3 * time.Second)
				_, _ = w.WriteString(`{"items":[{"id":"1","status":"running"},{"id":"2","status":"succeeded"},{"id":"3",` +
					`"status":"odd"},{}],"total":4}`)
				return w.Result(), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		batched := func(ctx context.Context, id string) bool {
			ref, err := d.Ref(modelV2, id)
			if err != nil {
				t.Error(err)
			}
			_, ok := d.PollBatched(ctx, ref)
			return ok
		}
		if batched(t.Context(), "1") {
			t.Error("a poll alone is answered by a list")
		}
		var all sync.WaitGroup
		for id, want := range map[string]bool{"1": true, "2": false, "3": false, "4": false} {
			all.Go(func() {
				if got := batched(t.Context(), id); got != want {
					t.Errorf("task %s: %t, want %t", id, got, want)
				}
			})
		}
		synctest.Wait()
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if begun := time.Now(); batched(hurried, "1") || time.Since(begun) != time.Second {
			t.Errorf("one that has a second is answered, after %v", time.Since(begun))
		}
		all.Wait()
		if lists != 1 {
			t.Errorf("%d lists", lists)
		}
	})
}
