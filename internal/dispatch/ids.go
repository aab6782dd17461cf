package dispatch

import (
	"sync"

	"reelay/events"
)

// maxIDs is how many ids are remembered: a provider, or a proxy before it, that repeats an answer repeats a recent one.
const maxIDs = 10_000

// IDs remembers which task has each of the last 10,000 provider ids that a lane's paid requests were answered with. Its
// zero value is ready, and it may be used by several goroutines.
type IDs struct {
	mu      sync.Mutex
	holders map[string]events.Key
	oldest  []string
}

// Take notes that a task was given an id. It returns the other task that has it, if there is one.
func (i *IDs) Take(id string, k events.Key) (other events.Key, shared bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if holder, ok := i.holders[id]; ok {
		return holder, holder != k
	}
	if len(i.oldest) >= maxIDs {
		delete(i.holders, i.oldest[0])
		i.oldest = i.oldest[1:]
	}
	if i.holders == nil {
		i.holders = map[string]events.Key{}
	}
	i.holders[id] = k
	i.oldest = append(i.oldest, id)
	return events.Key{}, false
}
