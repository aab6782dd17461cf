package status

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// TestPositionsOfTheDispatcher: a place is what the dispatcher of the lane says; without its answer, or where it knows
// nothing of a task, the index estimates, and the answer does not come late.
func TestPositionsOfTheDispatcher(t *testing.T) {
	rows := []struct {
		name     string
		dispatch func(m *nats.Msg)
		ours     int
	}{
		{"none", nil, 1},
		{"told", func(m *nats.Msg) {
			var r events.PositionsRequest
			must(t, json.Unmarshal(m.Data, &r))
			reply := events.PositionsReply{Positions: map[string]events.Position{}}
			for _, k := range r.Tasks {
				reply.Positions[k] = events.Position{Ahead: 7}
			}
			data, err := json.Marshal(reply)
			must(t, err)
			must(t, m.Respond(data))
		}, 7},
		{"silent", func(*nats.Msg) {}, 1},
		{"not known there", func(m *nats.Msg) { must(t, m.Respond([]byte(`{"positions":{"a.other":{"ahead":3}}}`))) }, 1},
		{
			"an older dispatcher, which tells numbers",
			func(m *nats.Msg) { must(t, m.Respond([]byte(`{"positions":{"a.second":7}}`))) }, 1,
		},
		{"a newer one, which tells more", func(m *nats.Msg) {
			must(t, m.Respond([]byte(
				`{"positions":{"a.second":{"ahead":7,"luck":[3]}},"moods":{},"holds":[{"reason":"vacation","message":"x"}]}`)))
		}, 7},
		{"no JSON", func(m *nats.Msg) { must(t, m.Respond([]byte("?"))) }, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inLab(t, Options{}, func(t *testing.T, l *lab) {
				atProvider := in(waiting("a", "queued", 2), events.PhaseProviderQueued, events.StatusQueued)
				three := 3
				atProvider.QueuePosition = &events.QueuePosition{Provider: &three}
				l.put(waiting("a", "first", 0), waiting("a", "second", 1), atProvider)
				if row.dispatch != nil {
					_, err := l.client.Subscribe(events.LanePositionsSubject("fal"), row.dispatch)
					must(t, err)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					must(t, l.client.FlushWithContext(ctx))
				}
				began := time.Now()
				one := into[events.TaskReply](t, l.ask(nil, events.VerbGet, "a", "second")).Task
				if d := time.Since(began); d > 300*time.Millisecond {
					t.Errorf("answered after %v", d)
				}
				list := into[events.ListReply](t, l.ask(nil, events.VerbList, "a")).Tasks
				for _, task := range append(list, one) {
					p := task.QueuePosition
					switch {
					case task.ID == "second" && (p == nil || *p.Ours != row.ours || p.Provider != nil || *p.Total != row.ours):
						t.Errorf("second: %+v, want %d", p, row.ours)
					case task.ID == "queued" && (p == nil || p.Ours != nil || *p.Provider != 3 || *p.Total != 3):
						t.Errorf("at the provider: %+v", p)
					}
				}
			})
		})
	}
}

// TestPositionsOfSilentLanes: of lanes that do not answer a list waits for all at once.
func TestPositionsOfSilentLanes(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		for i := range 5 {
			task := waiting("a", fmt.Sprint("t", i), i)
			task.Lane = fmt.Sprint("lane", i)
			l.put(task)
			_, err := l.client.Subscribe(events.LanePositionsSubject(task.Lane), func(*nats.Msg) {})
			must(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		must(t, l.client.FlushWithContext(ctx))
		began := time.Now()
		if list := into[events.ListReply](t, l.ask(nil, events.VerbList, "a")).Tasks; len(list) != 5 ||
			*list[0].QueuePosition.Ours != 0 {
			t.Errorf("listed: %+v", list)
		}
		if d := time.Since(began); d > 300*time.Millisecond {
			t.Errorf("answered after %v", d)
		}
	})
}
