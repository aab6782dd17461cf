//go:build unix

package chaos

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

func TestListener(t *testing.T) {
	said := func(subject, id string) *nats.Msg {
		m := nats.NewMsg(subject)
		m.Header.Set(events.HeaderID, id)
		return m
	}
	const progress = "reelay.event.demo.t1.progress"
	stored := map[string]string{"1": "a", "2": "b", "3": progress}
	rows := []struct {
		name          string
		heard         []*nats.Msg
		twice, missed int
		want          []string
	}{
		{"all", []*nats.Msg{said("a", "1"), said("b", "2"), said(progress, "3")}, 0, 0, nil},
		{"one is missed", []*nats.Msg{said("a", "1"), said(progress, "3")}, 0, 1, nil},
		{"twice", []*nats.Msg{said("a", "1"), said("b", "2"), said("b", "2"), said(progress, "3")}, 1, 0, nil},
		{"one id of two", []*nats.Msg{said("b", "1"), said("a", "1")}, 0, 2, []string{"listener: 1 was heard as b and as a"}},
		{"without an id", []*nats.Msg{said("b", "")}, 0, 3, []string{`listener: b was heard as , and stored is ""`, "listener: b without an id"}},
		{"not stored", []*nats.Msg{said("a", "1"), said("c", "4")}, 0, 2, []string{`listener: c was heard as 4, and stored is ""`}},
		{"progress that is not stored", []*nats.Msg{said("a", "1"), said(progress, "4")}, 0, 2, nil},
		{"stored otherwise", []*nats.Msg{said("c", "1")}, 0, 2, []string{`listener: c was heard as 1, and stored is "a"`}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			l := &listener{heard: map[string]string{}}
			for _, m := range row.heard {
				l.take(m)
			}
			wrong, heard, missed := l.judge(stored)
			if !slices.Equal(wrong, row.want) || missed != row.missed || l.twice != row.twice || heard != len(l.heard) {
				t.Errorf("%q, missed %d, twice %d; want %q, %d, %d", wrong, missed, l.twice, row.want, row.missed, row.twice)
			}
		})
	}
}
