package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"reelay/internal/terminal"
)

func TestTransfer(t *testing.T) {
	story := func(width int, total int64) string {
		var b bytes.Buffer
		now := start
		tr := &transfer{w: &b, width: width, now: func() time.Time { return now }, name: "风筝风筝.mp4", total: total}
		for range 4 {
			if n, err := tr.Write(make([]byte, 250_000)); n != 250_000 || err != nil {
				t.Fatal(n, err)
			}
			now = now.Add(150 * time.Millisecond) // too soon for each to be painted
		}
		tr.end()
		return b.String()
	}
	if got, want := story(80, 1_000_000), "\r[###############-----]  75%  750 kB of 1.0 MB  风筝风筝.mp4  about 0s left\x1b[K\r\x1b[K"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := story(80, 0), "\r风筝风筝.mp4  750 kB\x1b[K\r\x1b[K"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := story(0, 1_000_000); got != "" {
		t.Errorf("without a terminal: %q", got)
	}
	line, _, _ := strings.Cut(strings.TrimPrefix(story(50, 1_000_000), "\r"), clearToEnd)
	if n := terminal.Width(line); n != 48 && n != 49 {
		t.Errorf("%d columns: %q", n, line)
	}
}
