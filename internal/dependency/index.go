package dependency

import (
	"sync"

	"reelay/events"
)

// An Index has the waiting tasks of some lanes that depend on others, as the watch of the records shows them: it
// says whom to check when a task ends. What is decided then is read anew. It is safe for
// concurrent use.
type Index struct {
	mu sync.Mutex
	// waitsFor are the ids that each waits for, of the waiting tasks by the one that they wait for.
	waitsFor map[events.Key][]string
	of       map[events.Key]map[events.Key]bool
	// due are those to be checked, each with the ids that are known to have ended; none where all have to be read.
	due  map[events.Key][]string
	wake chan struct{}
}

// Wake is sent to when there is something to take.
func (d *Index) Wake() <-chan struct{} { return d.wake }

func (d *Index) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// NewIndex returns an empty Index.
func NewIndex() *Index {
	return &Index{
		waitsFor: map[events.Key][]string{}, of: map[events.Key]map[events.Key]bool{}, due: map[events.Key][]string{},
		wake: make(chan struct{}, 1),
	}
}

// See takes in a record, nil if it is gone; ours says that its lane is sent for here.
func (d *Index) See(k events.Key, t *events.Task, ours bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	waits := t != nil && t.Phase == events.PhaseWaiting && len(t.WaitsFor) > 0
	switch known := d.waitsFor[k] != nil; {
	case !waits && known:
		for _, id := range d.waitsFor[k] {
			on := events.Key{Project: k.Project, ID: id}
			if delete(d.of[on], k); len(d.of[on]) == 0 {
				delete(d.of, on)
			}
		}
		delete(d.waitsFor, k)
		delete(d.due, k)
	case waits && !known && ours:
		d.waitsFor[k] = t.WaitsFor
		for _, id := range t.WaitsFor {
			on := events.Key{Project: k.Project, ID: id}
			if d.of[on] == nil {
				d.of[on] = map[events.Key]bool{}
			}
			d.of[on][k] = true
		}
		d.due[k] = nil
		d.nudge()
	}
	if t == nil || t.Phase != events.PhaseDone {
		return
	}
	for waiting := range d.of[k] {
		if ended, ok := d.due[waiting]; !ok || len(ended) > 0 {
			d.due[waiting] = append(ended, k.ID)
		}
		d.nudge()
	}
}

// Take takes out a task to be checked; false if there is none.
func (d *Index) Take() (k events.Key, ended []string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, ended := range d.due {
		delete(d.due, k)
		return k, ended, true
	}
	return k, nil, false
}

// Again has tasks checked once more: those named, or without a name all.
func (d *Index) Again(some ...events.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k := range d.waitsFor {
		if len(some) == 0 || k == some[0] {
			d.due[k] = nil
		}
	}
	d.nudge()
}
