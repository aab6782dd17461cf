//go:build unix

package chaos

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

func TestSubscriber(t *testing.T) {
	message := func(subject, id string) *nats.Msg {
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
		{"all", []*nats.Msg{message("a", "1"), message("b", "2"), message(progress, "3")}, 0, 0, nil},
		{"one is missed", []*nats.Msg{message("a", "1"), message(progress, "3")}, 0, 1, nil},
		{"twice", []*nats.Msg{message("a", "1"), message("b", "2"), message("b", "2"), message(progress, "3")}, 1, 0, nil},
		{
			"one id of two",
			[]*nats.Msg{message("b", "1"), message("a", "1")},
			0, 2,
			[]string{"subscriber: 1 was received as b and as a"},
		},
		{
			"without an id",
			[]*nats.Msg{message("b", "")},
			0, 3,
			[]string{`subscriber: b was received as , and stored is ""`, "subscriber: b without an id"},
		},
		{
			"not stored",
			[]*nats.Msg{message("a", "1"), message("c", "4")},
			0, 2,
			[]string{`subscriber: c was received as 4, and stored is ""`},
		},
		{"progress that is not stored", []*nats.Msg{message("a", "1"), message(progress, "4")}, 0, 2, nil},
		{
			"stored otherwise",
			[]*nats.Msg{message("c", "1")},
			0, 2,
			[]string{`subscriber: c was received as 1, and stored is "a"`},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			l := &subscriber{received: map[string]string{}}
			for _, m := range row.heard {
				l.receive(m)
			}
			wrong, received, missed := l.judge(stored)
			if !slices.Equal(wrong, row.want) || missed != row.missed || l.twice != row.twice || received != len(l.received) {
				t.Errorf("%q, missed %d, twice %d; want %q, %d, %d", wrong, missed, l.twice, row.want, row.missed, row.twice)
			}
		})
	}
}
