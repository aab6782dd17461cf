package fal

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
)

// A post is one webhook that arrived.
type post struct {
	at     time.Time
	url    string
	header http.Header
	text   string

	Error        *string         `json:"error"`
	GatewayID    string          `json:"gateway_request_id"`
	Payload      json.RawMessage `json:"payload"`
	PayloadError string          `json:"payload_error"`
	RequestID    string          `json:"request_id"`
	Status       string          `json:"status"`
}

// A receiver is the network and all that listens on it.
type receiver struct {
	mu    sync.Mutex
	posts []post
	// answer says how the n-th post, from 0, is answered; a status of 0 is silence. nil is 200 always.
	answer func(n int) int
}

func (rc *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p := post{at: time.Now(), url: r.URL.String(), header: r.Header, text: string(text)}
	_ = json.Unmarshal(text, &p) // some are cut off
	rc.mu.Lock()
	n, status := len(rc.posts), http.StatusOK
	rc.posts = append(rc.posts, p)
	if rc.answer != nil {
		status = rc.answer(n)
	}
	rc.mu.Unlock()
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Location": {"https://elsewhere.example.test"}},
		Body: io.NopCloser(strings.NewReader("{}")), Request: r,
	}, nil
}

func (rc *receiver) got() []post {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.Clone(rc.posts)
}

// verify checks a webhook as the documentation tells a receiver to, with the keys that the server publishes.
func verify(t testing.TB, s *Server, p post) error {
	t.Helper()
	var set struct {
		Keys []struct{ Kty, Crv, X, Kid string }
	}
	r := do(t, s, http.MethodGet, "/.well-known/jwks.json", "", "Authorization", "")
	if err := json.Unmarshal(r.Body.Bytes(), &set); err != nil || r.Code != 200 || len(set.Keys) == 0 {
		t.Fatalf("keys: %d %s", r.Code, r.Body)
	}
	h := func(name string) string { return p.header.Get("X-Fal-Webhook-" + name) }
	signature, err := hex.DecodeString(h("Signature"))
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(h("Timestamp"), 10, 64)
	if err != nil {
		return err
	}
	if age := p.at.Sub(time.Unix(seconds, 0)).Abs(); age > 5*time.Minute {
		return fmt.Errorf("the timestamp is %v off", age)
	}
	sum := sha256.Sum256([]byte(p.text))
	message := []byte(h("Request-Id") + "\n" + h("User-Id") + "\n" + h("Timestamp") + "\n" + hex.EncodeToString(sum[:]))
	for _, k := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || k.Kty != "OKP" || k.Crv != "Ed25519" || k.Kid == "" {
			t.Fatalf("key %+v: %v", k, err)
		}
		if ed25519.Verify(x, message, signature) {
			return nil
		}
	}
	return errors.New("no key has signed it")
}

// serving returns a server over its options that delivers webhooks until the returned function is called, or the test
// ends. It is for bubbles.
func serving(t testing.TB, o Options) (*Server, func()) {
	t.Helper()
	s := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait() // it has begun, and whatever comes has to wake it
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return s, stop
}

const webhookURL = "https://callbacks.example.test/cb"

// withWebhook submits with a webhook and returns the id.
func withWebhook(t testing.TB, s *Server, body string, header ...string) string {
	t.Helper()
	w := do(t, s, http.MethodPost, "/"+model+"?fal_webhook=https%3A%2F%2Fcallbacks.example.test%2Fcb", body, header...)
	if w.Code != 200 {
		t.Fatalf("submit: %d %s", w.Code, w.Body)
	}
	return w.Header().Get("X-Fal-Request-Id")
}

func delivery(t testing.TB, s *Server, id string) emulator.Delivery {
	t.Helper()
	j, ok := s.Ledger().Job(id)
	if !ok {
		t.Fatalf("no job %s", id)
	}
	return j.Delivery(completed)
}

// The vector was made apart from this code: seed 00 01 .. 1f.
func TestSignatureVector(t *testing.T) {
	t.Parallel()
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	k := keys{all: []ed25519.PrivateKey{ed25519.NewKeyFromSeed(seed)}}
	id := "019e1951-c778-7120-9c82-16efcf40ec82"
	body := `{"error": null, "gateway_request_id": "` + id +
		`", "payload": {"video": {"url": "https://example.test/a.mp4"}}, "request_id": "` + id + `", "status": "OK"}`
	want := "82a9dd44d1960ed3cc6cc539bad38309eb955182e8b528149b8d2b3c35ba69e2c046d6b5803ead42d51d735ea14fc28b25fb2e731482fa93e735f7fcc0969f02"
	if got := k.sign(id, "user_abc", "1700000000", []byte(body)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestWebhookTellsTheEnd(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, emulate string
		header        []string
		cancel        bool
		after         time.Duration
		want          string // ID stands for the request's id
	}{
		{
			name: "success", emulate: `{}`, after: 3 * time.Minute,
			want: `{"error": null, "gateway_request_id": "ID", "payload": {"seed": 17454220438242315174, "video": ` +
				`{"content_type": "video/mp4", ` +
				`"file_name": "sample.mp4", "file_size": 12670, "url": "https://queue.example.test/media/ID.mp4"}}, ` +
				`"request_id": "ID", "status": "OK"}`,
		},
		{
			name: "the model fails", emulate: `{"fail":"422"}`, after: 3 * time.Minute,
			want: `{"error": "Invalid status code: 422", "gateway_request_id": "ID", "payload": {"detail": [{"ctx": {}, ` +
				`"loc": ["body", "prompt"], ` +
				`"msg": "The input was refused: value_error", "type": "value_error", "url": ` +
				`"https://docs.fal.ai/errors#value_error"}]}, ` +
				`"request_id": "ID", "status": "ERROR"}`,
		},
		{
			name: "fal fails", emulate: `{"fail":"runner_disconnected"}`, after: 3 * time.Minute,
			want: `{"error": "Invalid status code: 503", "gateway_request_id": "ID", "payload": {"detail": "The request ended ` +
				`with runner_disconnected", ` +
				`"error_type": "runner_disconnected"}, "request_id": "ID", "status": "ERROR"}`,
		},
		{
			name: "cancelled", emulate: `{}`, cancel: true,
			want: `{"error": "Invalid status code: 499", "gateway_request_id": "ID", "payload": {"detail": "Request was ` +
				`cancelled", ` +
				`"error_type": "client_cancelled"}, "request_id": "ID", "status": "ERROR"}`,
		},
		{
			name: "start missed", emulate: `{}`, header: []string{"X-Fal-Request-Timeout", "30"}, after: 30 * time.Second,
			want: `{"error": "Invalid status code: 504", "gateway_request_id": "ID", "payload": {"detail": "Request ` +
				`timed out", ` +
				`"error_type": "request_timeout"}, "request_id": "ID", "status": "ERROR"}`,
		},
		{
			name: "no payload", emulate: `{"webhook":"null_payload"}`, after: 3 * time.Minute,
			want: `{"error": null, "gateway_request_id": "ID", "payload": null, "payload_error": "Response payload is not ` +
				`JSON serializable. ` +
				`The response can be fetched from the queue.", "request_id": "ID", "status": "OK"}`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rc := &receiver{}
				s, _ := serving(t, Options{Speed: emulator.Speed{Queue: time.Minute, Run: 2 * time.Minute}, Transport: rc})
				begin := time.Now()
				id := withWebhook(t, s, `{"emulate":`+row.emulate+`}`, row.header...)
				if row.cancel {
					do(t, s, http.MethodPut, "/fal-ai/kling-video/requests/"+id+"/cancel", "")
				}
				time.Sleep(24 * time.Hour)
				posts := rc.got()
				if len(posts) != 1 {
					t.Fatalf("%d posts, want one: %+v", len(posts), posts)
				}
				p := posts[0]
				if err := verify(t, s, p); err != nil {
					t.Error(err)
				}
				if want := strings.ReplaceAll(row.want, "ID", id); p.text != want {
					t.Errorf("body\n%s\nwant\n%s", p.text, want)
				}
				if p.url != webhookURL || p.at.Sub(begin) != row.after || p.header.Get("X-Fal-Webhook-User-Id") != DefaultUserID ||
					p.header.Get("X-Fal-Webhook-Request-Id") != id || p.header.Get("Content-Type") != "application/json" {
					t.Errorf("to %s after %v with %v, want after %v", p.url, p.at.Sub(begin), p.header, row.after)
				}
				want := emulator.Delivery{State: completed, Tries: 1, Accepted: 1, Status: 200, At: p.at, Ended: emulator.Delivered}
				if got := delivery(t, s, id); !reflect.DeepEqual(got, want) {
					t.Errorf("recorded %+v, want %+v", got, want)
				}
			})
		})
	}
}

func TestWebhookRetries(t *testing.T) {
	t.Parallel()
	always := func(status int) func(int) int { return func(int) int { return status } }
	for _, row := range []struct {
		name   string
		answer func(n int) int
		tries  int
		status int
		ended  string
		within time.Duration // from the first try to the last
	}{
		{"accepted at once", always(204), 1, 204, emulator.Delivered, 0},
		{
			"accepted in the end", func(n int) int { return map[bool]int{true: 503, false: 202}[n < 3] }, 4, 202,
			emulator.Delivered, 105 * time.Second,
		},
		{"a redirect is for good", always(302), 1, 302, emulator.Refused, 0},
		{"not modified is a redirect as well", always(304), 1, 304, emulator.Refused, 0},
		{"not found", always(404), 11, 404, emulator.GaveUp, 7145 * time.Second},
		{"silence", always(0), 11, 0, emulator.GaveUp, 7145*time.Second + 10*webhookTimeout},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rc := &receiver{answer: row.answer}
				s, _ := serving(t, Options{Transport: rc})
				id := withWebhook(t, s, `{}`)
				time.Sleep(24 * time.Hour)
				posts := rc.got()
				if len(posts) != row.tries {
					t.Fatalf("%d tries, want %d", len(posts), row.tries)
				}
				for i, p := range posts {
					if err := verify(t, s, p); err != nil {
						t.Errorf("try %d: %v: each try is signed anew", i, err)
					}
				}
				if took := posts[len(posts)-1].at.Sub(posts[0].at); took != row.within {
					t.Errorf("took %v, want %v", took, row.within)
				}
				if d := delivery(t, s, id); d.Tries != row.tries || d.Status != row.status || d.Ended != row.ended {
					t.Errorf("recorded %+v, want %d tries, %d, %s", d, row.tries, row.status, row.ended)
				}
			})
		})
	}
}

// What was not delivered when the emulator ended is delivered when it runs again, in the steps that were left; what was
// is not.
func TestWebhooksGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger")
		up := false
		rc := &receiver{answer: func(int) int { return map[bool]int{true: 200, false: 503}[up] }}
		start := func() (*Server, func()) {
			l, err := emulator.OpenLedger(path)
			if err != nil {
				t.Fatal(err)
			}
			s, stop := serving(t, Options{Speed: emulator.Speed{Run: time.Minute}, Ledger: l, Transport: rc, Concurrency: 1})
			return s, func() {
				stop()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		s, stop := start()
		tried := withWebhook(t, s, `{}`)  // ends after a minute
		second := withWebhook(t, s, `{}`) // waits for it, ends after two
		time.Sleep(80 * time.Second)      // two tries of the first have failed
		if d := delivery(t, s, tried); d.Tries != 2 || d.Ended != "" {
			t.Errorf("before the restart %+v, want two tries", d)
		}
		stop()
		up = true
		time.Sleep(time.Hour)
		s, stop = start()
		synctest.Wait()
		for id, tries := range map[string]int{tried: 3, second: 1} {
			if d := delivery(t, s, id); d.Tries != tries || d.Ended != emulator.Delivered {
				t.Errorf("%s: %+v, want %d tries", id, d, tries)
			}
		}
		n := len(rc.got())
		stop()
		_, stop = start()
		time.Sleep(time.Hour)
		stop()
		if again := len(rc.got()); again != n {
			t.Errorf("%d posts after another restart, want none", again-n)
		}
	})
}

func TestWebhookFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		fault string
		check func(t *testing.T, s *Server, id string, posts []post, d emulator.Delivery)
	}{
		{"drop", func(t *testing.T, _ *Server, _ string, posts []post, d emulator.Delivery) {
			if len(posts) != 0 || d.Ended != emulator.Dropped {
				t.Errorf("%d posts, %+v", len(posts), d)
			}
		}},
		{"duplicate", func(t *testing.T, s *Server, _ string, posts []post, d emulator.Delivery) {
			if len(posts) != 2 || posts[0].text != posts[1].text || d.Tries != 2 || d.Accepted != 2 ||
				verify(t, s, posts[1]) != nil {
				t.Errorf("%+v, %+v", posts, d)
			}
		}},
		{"delay", func(t *testing.T, s *Server, id string, posts []post, _ emulator.Delivery) {
			j, _ := s.Ledger().Job(id)
			if len(posts) != 1 || posts[0].at.Sub(j.At) != time.Minute+emulator.DefaultDelay {
				t.Errorf("%+v", posts)
			}
		}},
		{"bad_signature", func(t *testing.T, s *Server, _ string, posts []post, d emulator.Delivery) {
			if len(posts) != 1 || verify(t, s, posts[0]) == nil || d.Fooled != 1 {
				t.Errorf("%+v, %+v: a receiver that takes everything was fooled", posts, d)
			}
		}},
		{"old_timestamp", func(t *testing.T, s *Server, _ string, posts []post, d emulator.Delivery) {
			err := verify(t, s, posts[0])
			if err == nil || !strings.Contains(err.Error(), "1h0m0s off") || d.Fooled != 1 {
				t.Errorf("%v, %+v", err, d)
			}
		}},
		{"truncated", func(t *testing.T, s *Server, id string, posts []post, d emulator.Delivery) {
			if len(posts) != 1 || json.Valid([]byte(posts[0].text)) || !strings.Contains(posts[0].text, id) ||
				verify(t, s, posts[0]) != nil || d.Fooled != 0 {
				t.Errorf("%+v, %+v", posts, d)
			}
		}},
		{"forged", func(t *testing.T, s *Server, id string, posts []post, d emulator.Delivery) {
			if len(posts) != 2 || posts[0].RequestID == id || strings.Contains(posts[0].text, id) ||
				posts[0].url != posts[1].url ||
				posts[1].RequestID != id || verify(t, s, posts[0]) != nil || d.Forged != 1 || d.Fooled != 0 {
				t.Errorf("%+v, %+v", posts, d)
			}
		}},
		{"stranger", func(t *testing.T, s *Server, id string, posts []post, d emulator.Delivery) {
			if len(posts) != 2 || posts[0].RequestID == id || posts[0].header.Get("X-Fal-Webhook-User-Id") == DefaultUserID ||
				posts[1].RequestID != id || verify(t, s, posts[0]) != nil || d.Forged != 1 || d.Fooled != 1 {
				t.Errorf("%+v, %+v", posts, d)
			}
		}},
	} {
		t.Run(row.fault, func(t *testing.T) {
			t.Parallel()
			for name, o := range map[string]Options{
				"script": {}, "options": {
					Faults: emulator.Faults{Shares: map[emulator.Fault]float64{emulator.Fault(row.fault): 1}},
				},
			} {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						rc := &receiver{}
						o.Speed, o.Transport = emulator.Speed{Run: time.Minute}, rc
						s, _ := serving(t, o)
						body := `{}`
						if name == "script" {
							body = `{"emulate":{"webhook":"` + row.fault + `"}}`
						}
						id := withWebhook(t, s, body)
						time.Sleep(24 * time.Hour)
						row.check(t, s, id, rc.got(), delivery(t, s, id))
					})
				})
			}
		})
	}
}

// A receiver that refuses a wrong signature and an old one gets a true one with the next try.
func TestTrueWebhookAfterAWrongOne(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"bad_signature", "old_timestamp"} {
		synctest.Test(t, func(t *testing.T) {
			rc := &receiver{answer: func(n int) int { return map[bool]int{true: 401, false: 200}[n == 0] }}
			s, _ := serving(t, Options{Transport: rc})
			id := withWebhook(t, s, `{"emulate":{"webhook":"`+fault+`"}}`)
			time.Sleep(time.Hour)
			posts, d := rc.got(), delivery(t, s, id)
			if len(posts) != 2 || verify(t, s, posts[0]) == nil || verify(t, s, posts[1]) != nil && fault == "bad_signature" ||
				d.Fooled != 0 || d.Ended != emulator.Delivered {
				t.Errorf("%s: %+v, %+v", fault, posts, d)
			}
		})
	}
}

func TestWebhookBeforeTheReply(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		emulate string
		posts   int
		wait    time.Duration
	}{
		{`{"webhook":"before_reply","run_ms":5000}`, 1, 5 * time.Second},
		{`{"webhook":"before_reply,drop","run_ms":5000}`, 0, 5 * time.Second},
		{`{"webhook":"before_reply","run_ms":60000}`, 0, 30 * time.Second},
		{`{"run_ms":60000}`, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			rc := &receiver{}
			s, _ := serving(t, Options{Transport: rc})
			begin := time.Now()
			withWebhook(t, s, `{"emulate":`+row.emulate+`}`)
			if took := time.Since(begin); took != row.wait || len(rc.got()) != row.posts {
				t.Errorf("%s: answered after %v and %d webhooks, want %v and %d", row.emulate, took, len(rc.got()), row.wait,
					row.posts)
			}
		})
	}
}

// Webhooks of jobs that end one after another change places, and none is lost.
func TestWebhooksReordered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rc := &receiver{}
		s, _ := serving(t, Options{
			Transport: rc, Faults: emulator.Faults{Shares: map[emulator.Fault]float64{emulator.Reorder: 1}},
		})
		var ids, told []string
		for range 20 {
			ids = append(ids, withWebhook(t, s, `{}`))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		for _, p := range rc.got() {
			told = append(told, p.RequestID)
		}
		if slices.Equal(ids, told) {
			t.Error("in order")
		}
		slices.Sort(ids)
		slices.Sort(told)
		if !slices.Equal(ids, told) {
			t.Errorf("%d told of %d", len(told), len(ids))
		}
	})
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rc := &receiver{}
		s, _ := serving(t, Options{Transport: rc})
		next := func() post {
			withWebhook(t, s, `{}`)
			synctest.Wait()
			posts := rc.got()
			return posts[len(posts)-1]
		}
		first := next()
		for i := range 3 {
			if w := do(t, s, http.MethodPost, "/_emulator/rotate", "", "Authorization", ""); w.Code != http.StatusNoContent {
				t.Fatalf("rotate: %d %s", w.Code, w.Body)
			}
			if err := verify(t, s, next()); err != nil {
				t.Errorf("after rotation %d: %v", i+1, err)
			}
			if err := verify(t, s, first); (err == nil) != (i == 0) {
				t.Errorf("the first key after rotation %d: %v, want it to be published for one rotation", i+1, err)
			}
		}
		if w := do(t, s, http.MethodGet, "/_emulator/rotate", ""); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("rotate by GET: %d", w.Code)
		}
	})
}

// An emulator that ends while a webhook is on its way does not know what became of it, and sends it again.
func TestWebhookCutOffByAStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rc := &receiver{answer: func(n int) int { return map[bool]int{true: 0, false: 200}[n == 0] }}
		o := Options{Transport: rc, Ledger: &emulator.Ledger{}}
		s, stop := serving(t, o)
		id := withWebhook(t, s, `{}`)
		time.Sleep(5 * time.Second)
		stop()
		if d := delivery(t, s, id); d.Tries != 0 {
			t.Errorf("cut off: %+v", d)
		}
		s, _ = serving(t, o)
		synctest.Wait()
		if d := delivery(t, s, id); d.Tries != 1 || d.Ended != emulator.Delivered || len(rc.got()) != 2 {
			t.Errorf("after the restart: %+v, %d posts", d, len(rc.got()))
		}
	})
}

// However many jobs end at once and however slow the receiver is, only so many posts are under way, and all arrive.
func TestWebhooksAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const jobs, bound = 100, 32
		var mu sync.Mutex
		under, most := 0, 0
		s, _ := serving(t, Options{
			Speed: emulator.Speed{Run: time.Minute},
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				mu.Lock()
				under++
				most = max(most, under)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				under--
				mu.Unlock()
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			}),
		})
		for range jobs {
			withWebhook(t, s, `{}`)
		}
		time.Sleep(time.Minute + 4*time.Second + 1)
		mu.Lock()
		defer mu.Unlock()
		if most != bound {
			t.Errorf("%d at once, want %d", most, bound)
		}
		for _, j := range s.Ledger().Jobs() {
			if j.Delivery(completed).Ended != emulator.Delivered {
				t.Errorf("%+v", j.Deliveries)
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Without a transport nothing is sent, and nothing waits.
func TestNoWebhooksWithoutATransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := serving(t, Options{})
		id := withWebhook(t, s, `{"emulate":{"webhook":"before_reply"}}`)
		time.Sleep(time.Hour)
		if d := delivery(t, s, id); d.Tries != 0 || d.Ended != "" {
			t.Errorf("%+v", d)
		}
	})
}

func TestPythonJSON(t *testing.T) {
	t.Parallel()
	v := map[string]any{
		"b": []any{1, true, nil, "a\"\\\n<é😀"}, "a": json.Number("17454220438242315174"),
		"c": map[string]any{},
	}
	want := `{"a": 17454220438242315174, "b": [1, true, null, "a\"\\\u000a<\u00e9\ud83d\ude00"], "c": {}}`
	got := string(pythonJSON(v))
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	var a, b any
	if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil || !reflect.DeepEqual(a, b) {
		t.Error("it does not say what was said")
	}
}
