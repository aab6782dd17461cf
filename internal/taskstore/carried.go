package taskstore

import (
	"slices"
	"sync"

	"reelay/events"
	"reelay/internal/task"
)

// defaultCarried bounds the records that a Store carries, some kilobytes each. Beyond it any of them is forgotten.
const defaultCarried = 2048

// carried are records that have not ended, as this process has read or written them last. A step is decided on the
// record that is carried, and the compare-and-set says whether that was the newest: so a task that goes from step to
// step in one process is read once.
type carried struct {
	mu   sync.Mutex
	all  map[events.Key]version
	most int
}

// A version is a record, nil for none, and its revision or that of the marker in its place.
type version struct {
	task     *events.Task
	revision uint64
	// stored is the version of the record up to which this process has stored every event; 0 for not known.
	stored uint64
}

// missing returns the events that may not be stored yet.
func (v version) missing(all []events.Event) []events.Event {
	return slices.DeleteFunc(slices.Clone(all), func(e events.Event) bool { return e.Repair && e.Version <= v.stored })
}

// after returns the version that a change has made of v, its events being stored. They repeat those of earlier steps,
// where there are any.
func (v version) after(c task.Change, revision uint64) version {
	next := version{task: &c.Task, revision: revision, stored: v.stored}
	if c.Written && (v.task == nil || v.stored == v.task.Version || len(c.Events) > 0) {
		next.stored = c.Task.Version
	}
	return next
}

// keep carries a record from now on, or forgets it if it has ended.
func (c *carried) keep(k events.Key, v version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.task.Phase == events.PhaseDone {
		delete(c.all, k)
		return
	}
	old, ok := c.all[k]
	if ok && old.task.Version <= v.task.Version {
		v.stored = max(v.stored, old.stored)
	}
	if !ok && len(c.all) >= c.most {
		for other := range c.all {
			delete(c.all, other)
			break
		}
	}
	c.all[k] = v
}

// bring carries a record that may be old: one that is carried already and no older stays.
func (c *carried) bring(k events.Key, v version) {
	if old, ok := c.peek(k); !ok || old.revision < v.revision {
		c.keep(k, v)
	}
}

// peek returns a record that is carried.
func (c *carried) peek(k events.Key) (version, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.all[k]
	return v, ok
}

// take returns a record that is carried and forgets it. Whoever writes it keeps what was written.
func (c *carried) take(k events.Key) (version, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.all[k]
	delete(c.all, k)
	return v, ok
}
