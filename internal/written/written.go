// Package written remembers the records that a process has written last, so that its watch need not decode what it shows
// of them.
package written

import (
	"bytes"
	"sync"

	"reelay/events"
)

// most bounds the records that are remembered. A watch is some milliseconds behind.
const most = 512

// Records are the records that a process has written. As long as it watches none, none are remembered. The zero Records
// are ready for use, by many goroutines.
type Records struct {
	mu      sync.Mutex
	watched bool
	all     map[events.Key]record
}

type record struct {
	task  events.Task
	value []byte
}

// Watch says that the records are watched from now on.
func (r *Records) Watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched = true
}

// Put remembers a record that is about to be written as value.
func (r *Records) Put(t events.Task, value []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.watched {
		return
	}
	if r.all == nil {
		r.all = map[events.Key]record{}
	}
	k := t.Key()
	if _, ok := r.all[k]; !ok && len(r.all) >= most {
		for other := range r.all {
			delete(r.all, other)
			break
		}
	}
	r.all[k] = record{t, value}
}

// Decode returns the record that value is, or the error of events.DecodeTask. Like every record that is shared, it is changed by nobody.
func (r *Records) Decode(k events.Key, value []byte) (events.Task, error) {
	r.mu.Lock()
	own, ok := r.all[k]
	r.mu.Unlock()
	if ok && bytes.Equal(own.value, value) {
		return own.task, nil
	}
	return events.DecodeTask(value)
}
