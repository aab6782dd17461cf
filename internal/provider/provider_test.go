package provider

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"reelay/events"
)

func TestClip(t *testing.T) {
	for _, row := range []struct {
		name, in string
		n        int
		want     string
	}{
		{"short", "a heron", 10, "a heron"},
		{"exact", "a heron", 7, "a heron"},
		{"long", "a heron", 3, "a h"},
		{"nothing", "", 5, ""},
		{"no room", "a", 0, ""},
		{"before a character of two bytes", "aé", 2, "a"},
		{"behind a character of two bytes", "aéb", 3, "aé"},
		{"before a character of four bytes", "ab😀", 5, "ab"},
		{"behind a character of four bytes", "ab😀c", 6, "ab😀"},
		{"line breaks", "a\r\nb\tc", 10, "a  b c"},
		{"NUL and DEL", "a\x00b\x7f", 10, "a b "},
		{"terminal escape", "\x1b[31mred", 20, " [31mred"},
		{"terminal escape in one character (C1)", "\u009b31mred", 20, " 31mred"},
		{"next line (C1)", "a\u0085b", 20, "a b"},
		{"a control character counts as the blank it becomes", "\u0085\u0085", 2, "  "},
		{"bad UTF-8", "a\xffb", 10, "a\ufffdb"},
		{"bad UTF-8 at the limit", "a\xff", 3, "a"},
	} {
		if got := Clip(row.in, row.n); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in, n := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")), rapid.IntRange(0, 40).Draw(t, "n")
		got := Clip(in, n)
		if len(got) > n || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("%q at %d is %q", in, n, got)
		}
		if Clip(got, n) != got {
			t.Fatalf("%q clipped again is %q", got, Clip(got, n))
		}
	})
}

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"quota: no balance (1008)": {Kind: events.KindQuota, Message: "no balance", Code: "1008"},
		"retry: no answer":         {Kind: events.KindRetry, Message: "no answer"},
	} {
		if e.Error() != want {
			t.Errorf("error %q, want %q", e, want)
		}
	}
}

func TestAsError(t *testing.T) {
	mine := &Error{Kind: events.KindModeration, Code: "1026", Message: "refused"}
	for name, err := range map[string]error{
		"itself": mine, "wrapped": fmt.Errorf("poll: %w", mine), "joined": errors.Join(io.EOF, mine),
	} {
		if got := AsError(err); got != mine {
			t.Errorf("%s: %v, want the same error", name, got)
		}
	}
	got := AsError(fmt.Errorf("journal: %w", io.ErrShortWrite))
	if got.Kind != events.KindInternal || got.Code != "internal" || got.Message != "journal: short write" {
		t.Errorf("another error is %+v", got)
	}
	if !errors.Is(got, io.ErrShortWrite) {
		t.Error("the cause is lost")
	}
}

func TestErrorEvent(t *testing.T) {
	retryable := map[events.Kind]bool{events.KindRetry: true, events.KindRateLimited: true, events.KindInternal: true}
	for _, kind := range events.Kinds() {
		e := &Error{
			Kind: kind, Code: "c", Message: "line\n" + strings.Repeat("x", events.MaxMessageBytes), HTTPStatus: 422,
			TraceID: "t", Charge: events.ChargePossible, cause: io.EOF,
		}
		want := events.Error{
			Code: "c", Kind: kind, Message: "line " + strings.Repeat("x", events.MaxMessageBytes-5), Retryable: retryable[kind],
			Charge: events.ChargePossible, HTTPStatus: 422, TraceID: "t",
		}
		if got := e.Event(); !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, want %+v", kind, *got, want)
		}
	}
}
