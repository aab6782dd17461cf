package forecast

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"reelay/events"
)

// MaxKeys is how many keys a model holds, and so how many are learned; a class beyond it uses its parent level.
const MaxKeys = 2048

// ErrFull says that there are MaxKeys keys already.
var ErrFull = errors.New("too many classes of tasks")

// A Model holds the levels of all classes. It is a copy of stored values, safe for concurrent use.
type Model struct {
	mu     sync.Mutex
	levels map[string]*level
	// forecasts are derived on demand. The key of one about which nothing was learned is its task type.
	forecasts map[string]*Forecast
}

// NewModel returns a model without levels: it knows only the priors of the task types.
func NewModel() *Model {
	return &Model{levels: map[string]*level{}, forecasts: map[string]*Forecast{}}
}

// Put replaces the stored value of a key; nil removes it. Its errors match ErrLevel or ErrFull; the key is then
// unknown.
func (m *Model) Put(key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for known := range m.forecasts {
		if known == key || strings.HasPrefix(known, key+".") || !strings.Contains(known, ".") {
			delete(m.forecasts, known)
		}
	}
	delete(m.levels, key)
	if value == nil {
		return nil
	}
	if len(m.levels) >= MaxKeys {
		return fmt.Errorf("%w: %d keys are the limit", ErrFull, MaxKeys)
	}
	l, err := decodeLevel(value)
	if err != nil {
		return fmt.Errorf("forecast %s: %w", key, err)
	}
	m.levels[key] = l
	return nil
}

// Learn adds samples to the stored value of a key, nil if there is none, and returns the value to store. One that
// cannot be read is begun anew. Samples are added one after the other, so two writers that store one after the other
// lose nothing. The model itself changes by Put alone. It fails with ErrFull, for a new key.
func (m *Model) Learn(key string, stored []byte, samples []Sample) ([]byte, error) {
	l, err := decodeLevel(stored)
	if err != nil {
		if l, err = newLevel(); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	full := m.levels[key] == nil && len(m.levels) >= MaxKeys
	parent := m.forecast(parentKey(key)).curves()
	m.mu.Unlock()
	if full {
		return nil, fmt.Errorf("%w: %d keys are the limit", ErrFull, MaxKeys)
	}
	for _, s := range samples {
		if err := l.learn(s, parent); err != nil {
			return nil, fmt.Errorf("forecast %s: %w", key, err)
		}
	}
	return l.encode()
}

// Forecast returns what is known about a class: by its own level, or the nearest level above that was learned.
func (m *Model) Forecast(c Class) *Forecast {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := c.Keys()
	for i := len(keys) - 1; i >= 0; i-- {
		if m.levels[keys[i]] != nil {
			return m.forecast(keys[i])
		}
	}
	return m.forecast(string(c.TaskType))
}

// forecast derives the forecast of a key from its level and the levels above. The lock is held.
func (m *Model) forecast(key string) *Forecast {
	if f := m.forecasts[key]; f != nil {
		return f
	}
	parent := parentKey(key)
	var f *Forecast
	switch l := m.levels[key]; {
	case parent == "":
		f = unknown(events.TaskType(key))
	case l == nil:
		return m.forecast(parent)
	default:
		f = derive(l, m.forecast(parent))
	}
	m.forecasts[key] = f
	return f
}

// parentKey returns the key of the parent level: for the first level its task type, for a task type nothing.
func parentKey(key string) string {
	parent, last, _ := cutLast(key)
	if strings.Contains(parent, ".") || parent == "" {
		return parent
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
