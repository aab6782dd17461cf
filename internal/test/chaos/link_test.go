//go:build unix

package chaos_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"reelay/internal/test/chaos"
)

// answer is what the test server says to everything: a thousand bytes.
var answer = bytes.Repeat([]byte("0123456789"), 100)

// server accepts connections, reads ten bytes, answers and waits for the end. The bytes it got in all go to seen.
func server(t *testing.T) (address string, seen <-chan []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	all := make(chan []byte, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				got := make([]byte, 10)
				n, err := io.ReadFull(c, got)
				if err == nil {
					_, _ = c.Write(answer)
					_, _ = io.Copy(io.Discard, c)
				}
				all <- got[:n]
			}()
		}
	}()
	return l.Addr().String(), all
}

// exchange sends ten bytes and reads until the end, its own end sent after the answer is complete.
func exchange(t *testing.T, address string) (got []byte, took time.Duration, err error) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := c.Write([]byte("abcdefghij")); err != nil {
		return nil, 0, err
	}
	got = make([]byte, len(answer))
	n, err := io.ReadFull(c, got)
	return got[:n], time.Since(begin), err
}

func TestLinkFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		fault chaos.Fault
		// up and down are how many bytes arrive.
		up, down int
		reset    bool
		least    time.Duration
	}{
		{"none", chaos.Fault{}, 10, 1000, false, 0},
		{"cut the request", chaos.Fault{Kind: chaos.Cut, Up: true, After: 4}, 4, 0, false, 0},
		{"cut before the request", chaos.Fault{Kind: chaos.Cut, Up: true}, 0, 0, false, 0},
		{"cut the answer", chaos.Fault{Kind: chaos.Cut, After: 300}, 10, 300, false, 0},
		{"reset the request", chaos.Fault{Kind: chaos.Reset, Up: true, After: 4}, -1, 0, true, 0},
		{"reset before the answer", chaos.Fault{Kind: chaos.Reset}, 10, 0, true, 0},
		{"half close the request", chaos.Fault{Kind: chaos.HalfClose, Up: true, After: 9}, 9, 0, false, 0},
		{"half close the answer", chaos.Fault{Kind: chaos.HalfClose, After: 999}, 10, 999, false, 0},
		{"delay", chaos.Fault{Kind: chaos.Delay, For: 60 * time.Millisecond}, 10, 1000, false, 60 * time.Millisecond},
		{
			"stall",
			chaos.Fault{Kind: chaos.Stall, Up: true, After: 5, For: 80 * time.Millisecond},
			10, 1000, false,
			80 * time.Millisecond,
		},
		{"a fault that is never reached", chaos.Fault{Kind: chaos.Reset, After: 1000}, 10, 1000, false, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			target, seen := server(t)
			l := chaos.OpenLink(t, 0, func() chaos.Fault { return row.fault }, target)
			got, took, err := exchange(t, l.Address())
			if !bytes.Equal(got, answer[:row.down]) {
				t.Errorf("%d bytes of the answer, %v, want %d", len(got), err, row.down)
			}
			whole := row.down == len(answer)
			if isEnd := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); whole != (err == nil) ||
				!whole && isEnd == row.reset {
				t.Errorf("the answer ends with %v, want a reset: %v", err, row.reset)
			}
			if up := <-seen; row.up >= 0 && len(up) != row.up {
				t.Errorf("%d bytes of the request arrived, want %d", len(up), row.up)
			}
			if took < row.least {
				t.Errorf("it took %v, want at least %v", took, row.least)
			}
			want := 1
			if row.fault.Kind == chaos.None || row.fault.After >= len(answer) {
				want = 0
			}
			if n := l.Fired()[row.fault.Kind]; n != want {
				t.Errorf("the fault was counted %d times, want %d", n, want)
			}
		})
	}
}

func TestLinkQuiet(t *testing.T) {
	t.Parallel()
	target, seen := server(t)
	l := chaos.OpenLink(t, 50*time.Millisecond, func() chaos.Fault { return chaos.Fault{} }, target)
	c, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v, want the end", n, err)
	}
	if got := <-seen; len(got) != 0 || l.Fired()[chaos.Quiet] != 1 {
		t.Errorf("%d bytes arrived, closed %d times, want 0 and 1", len(got), l.Fired()[chaos.Quiet])
	}
}

func TestLinkAllAtOnce(t *testing.T) {
	t.Parallel()
	target, seen := server(t)
	l := chaos.OpenLink(t, 0, func() chaos.Fault { return chaos.Fault{Kind: chaos.Cut, After: 10} }, target)
	begin := time.Now()
	l.StallAll(100 * time.Millisecond)
	got, _, _ := exchange(t, l.Address())
	if took := time.Since(begin); len(got) != 10 || took < 100*time.Millisecond {
		t.Errorf("stalled: %d bytes after %v, want the fault's 10 after 100ms", len(got), took)
	}
	<-seen

	c, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("abcdefghij")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 10)); err != nil { // it is proxied for sure
		t.Fatal(err)
	}
	<-seen
	l.Heal()
	if got, _, err := exchange(t, l.Address()); len(got) != len(answer) || err != nil {
		t.Errorf("healed: %d bytes, %v, want all", len(got), err)
	}
	l.CutAll()
	if n := l.Fired(); n[chaos.StallAll] != 1 {
		t.Errorf("fired %v, want one stall of all", n)
	}
}

// Replicas are tried in turn: one that does not listen is passed over, and both get their share.
func TestLinkTriesReplicas(t *testing.T) {
	t.Parallel()
	serve := func(text string) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}()
		return l
	}
	a, b := serve("a"), serve("b")
	l := chaos.OpenLink(t, 0, func() chaos.Fault { return chaos.Fault{} }, a.Addr().String(), b.Addr().String())
	ask := func() string {
		c, err := net.Dial("tcp", l.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text, _ := io.ReadAll(c)
		return string(text)
	}
	if got := ask() + ask(); got != "ab" {
		t.Errorf("answered by %q, want by each in turn", got)
	}
	_ = a.Close()
	if got := ask() + ask(); got != "bb" {
		t.Errorf("answered by %q, want by the one that listens", got)
	}
}
