// Package group chooses between lanes of one provider that stand for each other: several servers of one's own, or
// several accounts. It is pure.
//
// A task of a group has a lane from the start, so that somebody can say where it stands and why it waits. As long as
// nothing was sent, every other lane of the group may take it, and does so as soon as it has room and the task's own has
// not: that the record has one lane when it is sent is decided by its compare-and-set.
package group

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"reelay/events"
)

// MaxWeight is the greatest weight of a lane; the least is 1.
const MaxWeight = 1000

// A Group is lanes under one name.
type Group struct {
	Name string
	// Members are at least one, each once.
	Members []Member
}

// A Member is a lane of a group. Of those that could all send a task at once, each gets tasks by its weight.
type Member struct {
	Lane   string
	Weight int
}

// Parse reads NAME=LANE[:WEIGHT],... as operators write it. A weight that is not given is 1.
func Parse(text string) (g Group, err error) {
	name, members, named := strings.Cut(text, "=")
	switch {
	case !named || members == "":
		return g, errors.New("a group is NAME=LANE,LANE, such as gpu=gpu1:2,gpu2 where gpu1 gets twice as many tasks")
	case !events.ValidToken(name):
		return g, fmt.Errorf("the name of a group is 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	g.Name = name
	for one := range strings.SplitSeq(members, ",") {
		lane, text, weighted := strings.Cut(strings.TrimSpace(one), ":")
		m := Member{Lane: lane, Weight: 1}
		if weighted {
			m.Weight, err = strconv.Atoi(text)
		}
		switch {
		case err != nil || m.Weight < 1 || m.Weight > MaxWeight:
			return g, fmt.Errorf("%s: the weight of %.80q is not between 1 and %d", name, lane, MaxWeight)
		case slices.ContainsFunc(g.Members, func(o Member) bool { return o.Lane == lane }):
			return g, fmt.Errorf("%s: lane %q is in it twice", name, lane)
		}
		g.Members = append(g.Members, m)
	}
	return g, nil
}

// Has reports whether a lane is in the group.
func (g Group) Has(lane string) bool {
	return slices.ContainsFunc(g.Members, func(m Member) bool { return m.Lane == lane })
}

// Room says how soon a lane may send a task.
type Room int

// The kinds of room, the best first.
const (
	Free    Room = iota // at once
	Busy                // after others, or when a limit lets it
	Stopped             // nobody knows when
)

// A Rotation deals tasks to the lanes of a group by their weights. It is safe for concurrent use.
type Rotation struct {
	Group

	mu sync.Mutex
	// credit is what each lane has saved up: at each turn its weight comes in, and the lane that is chosen pays for all.
	credit map[string]int
}

// NewRotation returns a Rotation that has dealt nothing.
func NewRotation(g Group) *Rotation { return &Rotation{Group: g, credit: map[string]int{}} }

// Next returns the lane that the next task gets: of those that have the best room the one whose turn it is. why says so
// for people.
func (r *Rotation) Next(room func(lane string) Room) (lane, why string) {
	best := Stopped
	rooms := map[string]Room{}
	for _, m := range r.Members {
		rooms[m.Lane] = room(m.Lane)
		best = min(best, rooms[m.Lane])
	}
	among := slices.DeleteFunc(slices.Clone(r.Members), func(m Member) bool { return rooms[m.Lane] != best })
	lane = r.turn(among)
	why = [...]string{"has room", "has others before it, as all have", "sends nothing now, as all"}[best]
	return lane, fmt.Sprintf("lane %s of the group %s: it %s", lane, r.Name, why)
}

// turn is a smooth weighted round robin.
func (r *Rotation) turn(among []Member) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	total, chosen := 0, ""
	for _, m := range among {
		total += m.Weight
		r.credit[m.Lane] += m.Weight
		if chosen == "" || r.credit[m.Lane] > r.credit[chosen] {
			chosen = m.Lane
		}
	}
	r.credit[chosen] -= total
	return chosen
}

// TakenNote says for people why a lane sends a task of its group that another has, which is stopped by something, or nil.
func TakenNote(lane string, t events.Task, stopped *events.Blocked) string {
	note := fmt.Sprintf("lane %s of the group %s can send it before %s", lane, t.Group, t.Lane)
	if stopped != nil {
		note += ": " + stopped.Message
	}
	return note
}

// An Estimator says where a task stands in the queue of one lane; false if it does not wait there.
type Estimator interface {
	Position(k events.Key) (events.Position, bool)
}

// Estimators are those of the lanes in whose queues a task waits, its own first.
type Estimators []Estimator

// Position returns the joint position of a task; false if it does not wait in its own lane.
func (all Estimators) Position(k events.Key) (events.Position, bool) {
	var each []events.Position
	for i, e := range all {
		p, ok := e.Position(k)
		if !ok && i == 0 {
			return p, false
		}
		if ok {
			each = append(each, p)
		}
	}
	return Joint(each), true
}

// Joint is the position of a task that waits in the queues of several lanes: what stops one of them does not stop it, and
// they work off what is ahead together.
func Joint(each []events.Position) (p events.Position) {
	open := slices.DeleteFunc(slices.Clone(each), func(p events.Position) bool {
		return p.Blocked != nil && !p.Blocked.Reason.Ends()
	})
	if len(open) == 0 {
		return each[0]
	}
	p = open[0]
	for _, o := range open[1:] {
		p = both(p, o)
	}
	return p
}

// both is Joint of two that are not stopped.
func both(p, o events.Position) events.Position {
	if p.Behind == 0 || o.Behind == 0 { // one of them has room: it is the sooner
		if o.Behind == 0 && (p.Behind > 0 || o.WaitS < p.WaitS) {
			return o
		}
		return p
	}
	joint := p
	// Each has counted all that are ahead as its own.
	joint.Behind = max(1, p.Behind+o.Behind-min(p.Ahead, o.Ahead)-1)
	joint.InFlight = p.InFlight + o.InFlight
	joint.Ahead, joint.WaitS = min(p.Ahead, o.Ahead), min(p.WaitS, o.WaitS)
	if p.EachS > 0 && o.EachS > 0 {
		joint.EachS = (p.EachS*float64(p.InFlight) + o.EachS*float64(o.InFlight)) / float64(joint.InFlight)
	}
	if o.Blocked == nil {
		joint.Blocked = nil
	}
	return joint
}
