package forecast

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"reelay/events"
)

// MaxKeys is how many keys an atlas holds, and so how many are learned; a class beyond it goes by the level above.
const MaxKeys = 2048

// ErrFull says that there are MaxKeys keys already.
var ErrFull = errors.New("too many classes of tasks")

// An Atlas holds what is known of all classes. It is a copy of stored values, safe for concurrent use.
type Atlas struct {
	mu     sync.Mutex
	levels map[string]*level
	// forecasts are derived when they are asked for. The key of one that nothing is known about is its task type.
	forecasts map[string]*Forecast
}

// NewAtlas returns an empty atlas: one that knows the task types only.
func NewAtlas() *Atlas {
	return &Atlas{levels: map[string]*level{}, forecasts: map[string]*Forecast{}}
}

// Put takes in the stored value of a key; nil forgets it. Its errors match ErrLevel or ErrFull; the key is then unknown.
func (a *Atlas) Put(key string, value []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for known := range a.forecasts {
		if known == key || strings.HasPrefix(known, key+".") || !strings.Contains(known, ".") {
			delete(a.forecasts, known)
		}
	}
	delete(a.levels, key)
	if value == nil {
		return nil
	}
	if len(a.levels) >= MaxKeys {
		return fmt.Errorf("%w: %d keys are the limit", ErrFull, MaxKeys)
	}
	l, err := decodeLevel(value)
	if err != nil {
		return fmt.Errorf("forecast %s: %w", key, err)
	}
	a.levels[key] = l
	return nil
}

// Learn adds samples to the stored value of a key, nil if there is none, and returns the value to store. One that cannot be
// read is begun anew. Samples are taken in one after the other, so two writers that store one after the other lose nothing. The
// atlas itself changes by Put alone. It fails with ErrFull, for a new key.
func (a *Atlas) Learn(key string, stored []byte, samples []Sample) ([]byte, error) {
	l, err := decodeLevel(stored)
	if err != nil {
		if l, err = newLevel(); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	full := a.levels[key] == nil && len(a.levels) >= MaxKeys
	over := a.forecast(above(key)).curves()
	a.mu.Unlock()
	if full {
		return nil, fmt.Errorf("%w: %d keys are the limit", ErrFull, MaxKeys)
	}
	for _, s := range samples {
		if err := l.learn(s, over); err != nil {
			return nil, fmt.Errorf("forecast %s: %w", key, err)
		}
	}
	return l.encode()
}

// Forecast returns what is known about a class: its own, or the nearest level above that knows something.
func (a *Atlas) Forecast(c Class) *Forecast {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := c.Keys()
	for i := len(keys) - 1; i >= 0; i-- {
		if a.levels[keys[i]] != nil {
			return a.forecast(keys[i])
		}
	}
	return a.forecast(string(c.TaskType))
}

// forecast derives the forecast of a key from its level and the ones above. The lock is held.
func (a *Atlas) forecast(key string) *Forecast {
	if f := a.forecasts[key]; f != nil {
		return f
	}
	over := above(key)
	var f *Forecast
	switch l := a.levels[key]; {
	case over == "":
		f = unknown(events.TaskType(key))
	case l == nil:
		return a.forecast(over)
	default:
		f = derive(l, a.forecast(over))
	}
	a.forecasts[key] = f
	return f
}

// above returns the key of the level above: for the first one the task type, for that nothing.
func above(key string) string {
	over, last, _ := cutLast(key)
	if strings.Contains(over, ".") || over == "" {
		return over
	}
	return last
}

func cutLast(key string) (before, after string, found bool) {
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return "", key, false
	}
	return key[:i], key[i+1:], true
}
