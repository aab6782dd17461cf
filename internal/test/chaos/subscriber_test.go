//go:build unix

package chaos

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestListener(t *testing.T) {
	said := func(subject, sequence string) *nats.Msg {
		m := nats.NewMsg(subject)
		m.Header.Set(headerSequence, sequence)
		return m
	}
	stored := map[uint64]string{1: "a", 2: "b", 3: "a"}
	rows := []struct {
		name   string
		heard  []*nats.Msg
		nodes  int
		missed int
		want   []string
	}{
		{"all", []*nats.Msg{said("a", "1"), said("b", "2"), said("a", "3")}, 1, 0, nil},
		{"one is missed", []*nats.Msg{said("a", "1"), said("a", "3")}, 1, 1, nil},
		{"twice", []*nats.Msg{said("a", "1"), said("b", "2"), said("b", "2"), said("a", "3")}, 1, 0, []string{"listener: 1 were heard twice"}},
		{"twice of a cluster", []*nats.Msg{said("a", "1"), said("b", "2"), said("b", "2"), said("a", "3")}, 3, 0, nil},
		{"two in one place", []*nats.Msg{said("b", "1"), said("a", "1")}, 3, 2, []string{"listener: 1 was heard as b and as a"}},
		{"not stored", []*nats.Msg{said("a", "1"), said("c", "4")}, 1, 2, []string{`listener: c was heard as 4, and stored there is ""`}},
		{"stored otherwise", []*nats.Msg{said("c", "1")}, 1, 2, []string{`listener: c was heard as 1, and stored there is "a"`}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			l := &listener{heard: map[uint64]string{}}
			for _, m := range row.heard {
				l.take(m)
			}
			if wrong, heard, missed := l.judge(stored, row.nodes); !slices.Equal(wrong, row.want) || missed != row.missed || heard != len(l.heard) {
				t.Errorf("%q, missed %d; want %q, %d", wrong, missed, row.want, row.missed)
			}
		})
	}
}
