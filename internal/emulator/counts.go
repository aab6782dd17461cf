package emulator

import "sync"

// maxCounts bounds the things that are counted: it only keeps memory bounded.
const maxCounts = 10_000

// Counts counts how often something was asked for, so that a script's faults come a number of times. The zero Counts has
// counted nothing. It is safe for concurrent use.
type Counts struct {
	mu  sync.Mutex
	all map[string]int
}

// Count returns how often it was called for that thing before, up to the bound of what is counted.
func (c *Counts) Count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, known := c.all[what]
	if c.all == nil || !known && len(c.all) >= maxCounts {
		c.all = map[string]int{}
	}
	c.all[what] = n + 1
	return n
}
