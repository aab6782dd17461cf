package group_test

import (
	"slices"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/group"
)

func TestParse(t *testing.T) {
	g, err := group.Parse("gpu=gpu1:2, gpu2")
	if err != nil || g.Name != "gpu" || !slices.Equal(g.Members, []group.Member{{Lane: "gpu1", Weight: 2}, {Lane: "gpu2", Weight: 1}}) {
		t.Errorf("%+v, %v", g, err)
	}
	if !g.Has("gpu2") || g.Has("gpu3") {
		t.Error("the members are not known")
	}
	for text, want := range map[string]string{
		"gpu": "NAME=LANE", "gpu=": "NAME=LANE", "g.u=gpu1": "name of a group", "gpu=gpu1:0": "weight",
		"gpu=gpu1:x": "weight", "gpu=gpu1:1001": "weight", "gpu=gpu1,gpu1": "twice",
	} {
		if _, err := group.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", text, err, want)
		}
	}
}

// TestRotation: lanes with the same room share by weight, evenly at any time; a lane with more room goes first.
func TestRotation(t *testing.T) {
	g, err := group.Parse("gpu=a:2,b,c")
	if err != nil {
		t.Fatal(err)
	}
	r := group.NewRotation(g)
	free := func(string) group.Room { return group.Free }
	for round := range 3 {
		got := map[string]int{}
		for range 4 {
			lane, _ := r.Next(free)
			got[lane]++
		}
		if got["a"] != 2 || got["b"] != 1 || got["c"] != 1 {
			t.Errorf("round %d: %v, want two for a", round, got)
		}
	}
	rooms := map[string]group.Room{"a": group.Stopped, "b": group.Busy, "c": group.Free}
	for _, want := range []string{"c", "b", "a"} {
		lane, why := r.Next(func(lane string) group.Room { return rooms[lane] })
		if lane != want || !strings.Contains(why, "lane "+want+" of the group gpu") {
			t.Errorf("%s (%s), want %s", lane, why, want)
		}
		rooms[want] = group.Stopped
		if want == "b" {
			rooms = map[string]group.Room{"a": group.Free, "b": group.Stopped, "c": group.Stopped}
		}
	}
}

// TestJoint: what stops one lane does not stop the task, and two that are full work together.
func TestJoint(t *testing.T) {
	paused := events.Position{Ahead: 3, Blocked: &events.Blocked{Reason: events.BlockedPaused}}
	full := events.Position{
		Ahead: 3, Behind: 4, InFlight: 2, EachS: 60, Blocked: &events.Blocked{Reason: events.BlockedInFlight},
	}
	other := events.Position{Ahead: 3, Behind: 4, InFlight: 2, EachS: 20}
	room := events.Position{Ahead: 0}
	rows := []struct {
		name string
		each []events.Position
		want events.Position
	}{
		{"paused, full", []events.Position{paused, full}, full},
		{"full, paused", []events.Position{full, paused}, full},
		{"full, with room", []events.Position{full, room}, room},
		{"with room, full", []events.Position{room, full}, room},
		{"all paused", []events.Position{paused, paused}, paused},
		{"both full", []events.Position{full, other}, events.Position{Ahead: 3, Behind: 4, InFlight: 4, EachS: 40}},
	}
	for _, row := range rows {
		if got := group.Joint(row.each); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}
