package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

const (
	// BudgetBucket is the KV bucket of the limits on what may be spent in a day: one key per scope, a Cap as JSON. A key that is
	// absent limits nothing.
	BudgetBucket = "reelay_budgets"
	// SpendBucket is the KV bucket that counts what is taken of them: one key per scope and day, a Counter as JSON.
	SpendBucket = "reelay_spend"
	// budgetHistory is how many settings of each cap are kept, so that one can see who did what.
	budgetHistory = 16
	// counterAge is how long a counter is kept after its last change.
	counterAge = 8 * 24 * time.Hour
	// DefaultUnknownUSD is about what the dearer clips cost.
	DefaultUnknownUSD = 1.0
)

// A Scope is what a cap counts for: AllScope, a project or a lane. It is its key in BudgetBucket.
type Scope string

// AllScope is everything together.
const AllScope Scope = "all"

const (
	projectScope = "project."
	laneScope    = "lane."
)

// ProjectScope is one project.
func ProjectScope(project string) Scope { return Scope(projectScope + project) }

// LaneScope is one lane.
func LaneScope(lane string) Scope { return Scope(laneScope + lane) }

// Valid reports whether s is one of the forms above.
func (s Scope) Valid() bool {
	for _, prefix := range []string{projectScope, laneScope} {
		if name, ok := strings.CutPrefix(string(s), prefix); ok {
			return events.ValidToken(name)
		}
	}
	return s == AllScope
}

// Covers reports whether what is spent for a project on a lane counts for s.
func (s Scope) Covers(project, lane string) bool {
	return s == AllScope || s == ProjectScope(project) || s == LaneScope(lane)
}

// String names the scope for people: "all", "project demo", "lane fal".
func (s Scope) String() string { return strings.Replace(string(s), ".", " ", 1) }

// A Cap limits the money of one day in UTC.
type Cap struct {
	DailyUSD float64 `json:"daily_usd"`
	// UnknownUSD is what an attempt counts for whose price nobody knows; DefaultUnknownUSD where it is left out.
	UnknownUSD float64 `json:"unknown_usd,omitempty"`
	// By says who set it, for people.
	By string `json:"by,omitempty"`

	// Revision and SetAt are those of the key.
	Revision uint64    `json:"-"`
	SetAt    time.Time `json:"-"`
}

// DecodeCap reads a value of BudgetBucket. One that cannot be read allows nothing: whoever wrote it wanted a limit.
func DecodeCap(value []byte) Cap {
	c := Cap{UnknownUSD: DefaultUnknownUSD}
	var amount struct {
		DailyUSD *float64 `json:"daily_usd"`
	}
	err := errors.Join(json.Unmarshal(value, &amount), json.Unmarshal(value, &c))
	if err != nil || amount.DailyUSD == nil || !isAmount(c.DailyUSD) || !isAmount(c.UnknownUSD) {
		return Cap{UnknownUSD: DefaultUnknownUSD, By: "the cap holds no readable amount"}
	}
	return c
}

// MaxCapUSD bounds a cap.
const MaxCapUSD = 1e9

func isAmount(usd float64) bool { return usd >= 0 && usd <= MaxCapUSD }

// FollowCaps calls handle with every cap there is, then with an empty scope, and then with every change, until ctx ends; a nil
// cap is one that was taken away. handle must be quick. A key that is no scope is logged and left out.
func (b *Bus) FollowCaps(ctx context.Context, handle func(Scope, *Cap)) error {
	return follow(ctx, b.budgets, func(entry jetstream.KeyValueEntry) {
		switch {
		case entry == nil:
			handle("", nil)
		case !Scope(entry.Key()).Valid():
			b.log.Error("foreign key in the bucket of caps", "key", entry.Key())
		case entry.Operation() == jetstream.KeyValuePut:
			c := DecodeCap(entry.Value())
			c.Revision, c.SetAt = entry.Revision(), entry.Created()
			handle(Scope(entry.Key()), &c)
		default:
			handle(Scope(entry.Key()), nil)
		}
	})
}

// Counter reads the counter of a scope and day (2006-01-02) into value, as JSON, and returns its revision; 0 where there is none.
// One that cannot be read fails with ErrUnreadable, and has its revision all the same.
func (b *Bus) Counter(ctx context.Context, s Scope, day string, value any) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	entry, err := b.key(ctx, SpendBucket, counterKey(s, day))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("counter of %s on %s: %w", s, day, err)
	}
	if err := json.Unmarshal(entry.Value(), value); err != nil {
		return entry.Revision(), fmt.Errorf("%w: counter of %s on %s: %w", ErrUnreadable, s, day, err)
	}
	return entry.Revision(), nil
}

// PutCounter writes a counter if it has not changed since it was read; revision 0 creates it. ErrConflict means that nothing was
// written; after any other error the write may or may not have happened.
func (b *Bus) PutCounter(ctx context.Context, s Scope, day string, value any, revision uint64) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("counter of %s on %s: %w", s, day, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err = b.faults.Do(ctx, "counter", func() error {
		_, err := b.spend.Update(ctx, counterKey(s, day), data, revision)
		return err
	})
	if isConflict(err) {
		return fmt.Errorf("%w: counter of %s on %s", ErrConflict, s, day)
	}
	if err != nil {
		return fmt.Errorf("counter of %s on %s: %w", s, day, err)
	}
	return nil
}

func counterKey(s Scope, day string) string { return day + "." + string(s) }

func (b *Bus) openBudgets(ctx context.Context, replicas int) (jetstream.KeyValue, error) {
	return b.openBucket(ctx, jetstream.KeyValueConfig{
		Bucket: BudgetBucket, Description: "limits on what may be spent in a day", History: budgetHistory, Replicas: replicas,
	})
}

func (b *Bus) openSpend(ctx context.Context, replicas int) (jetstream.KeyValue, error) {
	return b.openBucket(ctx, jetstream.KeyValueConfig{
		Bucket: SpendBucket, Description: "what is taken of the limits, by day", TTL: counterAge, Replicas: replicas,
	})
}
