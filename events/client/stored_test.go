package client

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

// TestOpenStored reads what the services have put away.
func TestOpenStored(t *testing.T) {
	broker.ForgetTimers() // not in a bubble: see TestObjects of package bus
	b := broker.Start(t)
	c := New(b.Connect())
	if _, err := c.OpenStored(b.Context(), "output-1"); err == nil {
		b.Error("there is no store, and it is read")
	}
	want := bytes.Repeat([]byte("kite"), 300_000)
	b.OK(b.Open(bus.Options{}).PutObject(b.Context(), "output-1", want))
	r, err := c.OpenStored(b.Context(), "output-1")
	b.OK(err)
	got, err := io.ReadAll(r)
	b.OK(errors.Join(err, r.Close()))
	if !bytes.Equal(got, want) {
		b.Errorf("%d bytes, want %d", len(got), len(want))
	}
	if _, err := c.OpenStored(b.Context(), "output-2"); !errors.Is(err, ErrNotStored) {
		b.Errorf("got %v, want ErrNotStored", err)
	}
}
