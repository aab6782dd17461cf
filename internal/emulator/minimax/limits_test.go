package minimax_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
	"reelay/internal/emulator/minimax"
)

func post1(t testing.TB, s *minimax.Server) answer {
	t.Helper()
	return call(t, s, "k", http.MethodPost, "/v1/video_generation", goodV1)
}

func post2(t testing.TB, s *minimax.Server) answer {
	t.Helper()
	return call(t, s, "k", http.MethodPost, "/v2/video_generation", goodV2)
}

func limit(t testing.TB, s *minimax.Server, body string, status int) {
	t.Helper()
	if a := call(t, s, "", http.MethodPost, "/_emulator/limits", body); a.Status != status {
		t.Errorf("limits %s: %d %s, want %d", body, a.Status, a.Body, status)
	}
}

// Whenever they come, over a restart and changes of the limit, no 60 seconds have more creates than the limit, and the
// refused say so.
func TestCreatesPerMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		ledger := &emulator.Ledger{}
		s := minimax.New(minimax.Options{RPM: 20, Ledger: ledger})
		for i := range 3000 {
			time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
			if i%500 == 499 {
				s = minimax.New(minimax.Options{RPM: 20, Ledger: ledger})
			}
			if a := post1(t, s); a.code() != 0 && (a.code() != 1002 || a.Status != 200) {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
		}
		var taken []time.Time
		for _, at := range ledger.Submits() {
			if at.API != "v1" || !at.Accepted && at.Code != 1002 {
				t.Fatalf("%+v", at)
			}
			if at.Accepted {
				taken = append(taken, at.At)
			}
		}
		if refused := ledger.Calls()["submit_refused"]; refused == 0 || refused+len(taken) != 3000 {
			t.Errorf("%d taken, %d refused", len(taken), refused)
		}
		for i := 20; i < len(taken); i++ {
			if gap := taken[i].Sub(taken[i-20]); gap < time.Minute {
				t.Fatalf("21 creates within %v", gap)
			}
		}
		for i, j := range ledger.Jobs() {
			if !j.At.Equal(taken[i]) {
				t.Fatalf("job %d is of %v, taken at %v", i, j.At, taken[i])
			}
		}
	})
}

func TestLimitsOfAGeneration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := paced()
		o.RPM, o.RPMV2, o.InFlight = 1, 3, 2
		s := minimax.New(o)
		if first, second := post1(t, s), post1(t, s); first.code() != 0 || second.code() != 1002 {
			t.Errorf("V1: %s, %s, want one", first.Body, second.Body)
		}
		for i, want := range []int{200, 200, 429, 429} { // two in flight, then three a minute
			if a := post2(t, s); a.Status != want || want == 429 && a.Error.Message != "rate limit (1002)" {
				t.Errorf("V2 %d: %d %s, want %d", i, a.Status, a.Body, want)
			}
		}
		limit(t, s, `{"api":"v2","requests_per_minute":0}`, 204)
		if a := post2(t, s); a.Status != 429 {
			t.Errorf("two in flight: %d, want 429", a.Status)
		}
		limit(t, s, `{"in_flight":3}`, 204)
		if a, b := post2(t, s), post2(t, s); a.Status != 200 || b.Status != 429 {
			t.Errorf("three in flight: %d, %d, want 200, 429", a.Status, b.Status)
		}
		limit(t, s, `{"in_flight":0}`, 204)
		if a := post2(t, s); a.Status != 200 {
			t.Errorf("any number in flight: %d", a.Status)
		}
		if a := post1(t, s); a.code() != 1002 {
			t.Errorf("V1 when only V2 has more: %s", a.Body)
		}
		limit(t, s, `{"requests_per_minute":2}`, 204)
		if a := post1(t, s); a.code() != 0 {
			t.Errorf("V1 with one more: %s", a.Body)
		}
		limit(t, s, `{"concurrency":2}`, 400)
		limit(t, s, `{"api":"v3"}`, 400)
		limit(t, s, `{"in_flight":-1}`, 400)
	})
}

func TestDraw(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(minimax.Options{Draw: func(j emulator.Job) emulator.Speed {
			return emulator.Speed{Run: time.Duration(j.Seq) * time.Minute}
		}})
		first, second := createV1(t, s, goodV1), createV1(t, s, goodV1)
		time.Sleep(90 * time.Second)
		if a, b := queryV1(t, s, first), queryV1(t, s, second); a.Word != "Success" || b.Word != "Processing" {
			t.Errorf("%s, %s after 90 s, want the first to have ended", a.Word, b.Word)
		}
	})
}

// A link works for its time, and a query or a retrieve gives a fresh one.
func TestLinkLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(minimax.Options{LinkLife: time.Minute})
		v1, v2 := createV1(t, s, goodV1), createV2(t, s, goodV2)
		fresh := func() [2]string {
			return [2]string{
				get(t, s, "/v1/files/retrieve?file_id="+queryV1(t, s, v1).FileID).File.URL,
				queryV2(t, s, v2).Task.Content.URL,
			}
		}
		old := fresh()
		for _, row := range []struct {
			after  time.Duration
			status int
		}{{time.Minute - 1, 200}, {1, 403}} {
			time.Sleep(row.after)
			for _, link := range old {
				if a := do(t, s, httptest.NewRequest(http.MethodGet, link, nil)); a.Status != row.status {
					t.Errorf("%v later: %d, want %d", row.after, a.Status, row.status)
				}
			}
		}
		for _, link := range fresh() {
			if a := do(t, s, httptest.NewRequest(http.MethodGet, link, nil)); a.Status != 200 {
				t.Errorf("a fresh link: %d", a.Status)
			}
		}
	})
}
