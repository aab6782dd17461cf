package paid

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"sync"
	"sync/atomic"
	"testing"
)

func silent() *log.Logger { return log.New(io.Discard, "", 0) }

func protocols(t *testing.T, f func(t *testing.T, h2 bool)) {
	for _, h2 := range []bool{false, true} {
		name := "HTTP/1.1"
		if h2 {
			name = "HTTP/2.0"
		}
		t.Run(name, func(t *testing.T) { f(t, h2) })
	}
}

// TestVetoedRequestsNeverArrive sends a thousand requests that the gate vetoes: not one of them may reach the provider
// in full, whatever its size.
func TestVetoedRequestsNeverArrive(t *testing.T) {
	const vetoed, workers = 1_000, 8
	protocols(t, func(t *testing.T, h2 bool) {
		s := open(t, h2, nil)
		p := s.poster()
		var asked, wrong atomic.Int64
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := w; i < vetoed; i += workers {
					size := []int{1, 2, 19, 4_096, 4_097}[i%5]
					if i%100 == 0 {
						size = 1 << 20
					}
					_, err := p.Post(t.Context(), permit(t), request(s.URL, bytes.Repeat([]byte("x"), size)),
						func(context.Context) error {
							asked.Add(1)
							return errVeto
						})
					if !errors.Is(err, ErrNotSent) || !errors.Is(err, errVeto) {
						wrong.Add(1)
						t.Errorf("%d bytes: %v, want ErrNotSent and the veto", size, err)
					}
				}
			})
		}
		wg.Wait()
		s.Close() // waits for the handlers
		if n := s.complete.Load(); n != 0 {
			t.Errorf("%d of %d vetoed requests arrived in full", n, vetoed)
		}
		if asked.Load() != vetoed {
			t.Errorf("the gate was asked %d times, want %d", asked.Load(), vetoed)
		}
		// Without this the test would hold for requests that never came near the provider.
		if s.partial.Load() < vetoed/2 {
			t.Errorf("only %d requests arrived in part", s.partial.Load())
		}
	})
}

// TestAllowedRequestsArriveOnce is the other half: what the gate lets through arrives once, as given, on a connection
// of its own.
func TestAllowedRequestsArriveOnce(t *testing.T) {
	protocols(t, func(t *testing.T, h2 bool) {
		s := open(t, h2, nil)
		p := s.poster()
		sizes := []int{1, 2, 19, 4_096, 4_097, 1 << 20}
		for _, size := range sizes {
			asked := 0
			reply, err := p.Post(t.Context(), permit(t), request(s.URL, bytes.Repeat([]byte("x"), size)),
				func(context.Context) error {
					asked++
					if s.complete.Load() > int64(len(sizes)) {
						return errors.New("the body is there before the gate has opened")
					}
					return nil
				})
			if err != nil || reply.Status != 200 || string(reply.Body) != `{"id":"r1"}` {
				t.Fatalf("%d bytes: %d %q %v", size, reply.Status, reply.Body, err)
			}
			if asked != 1 {
				t.Errorf("%d bytes: the gate was asked %d times", size, asked)
			}
		}
		if n := s.complete.Load(); n != int64(len(sizes)) {
			t.Errorf("%d complete requests, want %d", n, len(sizes))
		}
		if n := s.conns.Load(); n != int64(len(sizes)) {
			t.Errorf("%d connections for %d requests, want one each", n, len(sizes))
		}
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]; s.protocol.Load() != want {
			t.Errorf("spoken was %v, want %s", s.protocol.Load(), want)
		}
	})
}

// TestGateThatAgreesTooLate has the caller give up while the gate still thinks. Whatever the gate says then: when Post
// says that nothing was sent, nothing may arrive.
func TestGateThatAgreesTooLate(t *testing.T) {
	protocols(t, func(t *testing.T, h2 bool) {
		s := open(t, h2, nil)
		p := s.poster()
		unsent := int64(0)
		const runs = 200
		for i := range runs {
			ctx, cancel := context.WithCancel(t.Context())
			posted := make(chan struct{})
			_, err := p.Post(ctx, permit(t), request(s.URL, []byte("body")), func(context.Context) error {
				cancel()
				// HTTP/1.1 waits for the gate before it fails, HTTP/2 does not.
				if h2 && i%2 == 0 {
					<-posted
				}
				return nil
			})
			close(posted)
			if errors.Is(err, ErrNotSent) {
				unsent++
			}
			cancel()
		}
		s.Close()
		if n := s.complete.Load(); n > runs-unsent {
			t.Errorf("Post said %d times that nothing was sent, and %d of %d requests arrived in full", unsent, n, runs)
		}
		if h2 && unsent == 0 {
			t.Error("Post never gave up before the gate had answered: this test shows nothing")
		}
	})
}
