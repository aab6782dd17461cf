package dependency

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"reelay/events"
)

// placeholder stands for the value of a reference that is not known yet. No server has the name (RFC 2606).
const placeholder = `"https://reference.invalid/"`

// Sample returns an input with a text in place of each reference, as far as it can be checked and priced before their
// values are known. Its error is a FieldError.
func Sample(input json.RawMessage) (json.RawMessage, error) {
	return events.ReplaceReferences("input", input,
		func(events.Reference) (json.RawMessage, error) { return json.RawMessage(placeholder), nil })
}

// ErrNotStored says that an output is not stored yet, and can be had from the store alone.
var ErrNotStored = errors.New("an output that is referred to is not stored yet")

// linkMargin is how long before its death a provider's link is not handed on any more.
const linkMargin = 5 * time.Minute

// Sources are what values are read from beside the records.
type Sources interface {
	// GetObject reads an object that was too large for a record.
	GetObject(ctx context.Context, name string) ([]byte, error)
	// Link returns a link to an output of a task that is stored.
	Link(ctx context.Context, k events.Key, output int) (string, error)
}

// Resolve returns an input with the values of its references, from the records of the tasks that they name. An output's
// value is the provider's link, or one to the stored file if that has died or there is none; with stored, wherever the
// file is stored. Its error is an *events.Error where a task has no such value, ErrNotStored where it has none yet, else
// one of the broker.
func Resolve(ctx context.Context, from Sources, input json.RawMessage, ended map[string]events.Task, stored bool) (
	json.RawMessage, error,
) {
	raws := map[string]json.RawMessage{} // results that were too large for their records
	resolved, err := events.ReplaceReferences("input", input, func(r events.Reference) (json.RawMessage, error) {
		d, ok := ended[r.From]
		if !ok || d.Result == nil {
			return nil, unresolved(r, "has no result")
		}
		if r.Field == "" {
			link, err := linkTo(ctx, from, r, d, stored)
			if err != nil {
				return nil, err
			}
			return events.Marshal(link)
		}
		raw := d.Result.Raw
		if d.Result.RawRef != "" {
			if raws[r.From] == nil {
				data, err := from.GetObject(ctx, d.Result.RawRef)
				if err != nil {
					return nil, err
				}
				raws[r.From] = data
			}
			raw = raws[r.From]
		}
		return value(r, *d.Result, raw)
	})
	if err == nil && len(resolved) > events.MaxRequestBytes {
		return nil, dependencyError(events.CodeDependencyFailed, "input",
			fmt.Sprintf("the input with the values of its references has %d bytes, over the limit of %d", len(resolved),
				events.MaxRequestBytes))
	}
	return resolved, err
}

// NeverStored is the error of a task that has waited for ErrNotStored to end as long as it may take in all.
func NeverStored() *events.Error {
	return dependencyError(events.CodeDependencyFailed, "", ErrNotStored.Error()+", within the timeout; does an archiver run?")
}

// LastEnd is when the last of some tasks ended.
func LastEnd(ended map[string]events.Task) (last time.Time) {
	for _, t := range ended {
		if t.CompletedAt != nil && t.CompletedAt.After(last) {
			last = *t.CompletedAt
		}
	}
	return last
}

// linkTo returns a link to the output that a reference names.
func linkTo(ctx context.Context, from Sources, r events.Reference, d events.Task, stored bool) (string, error) {
	all := d.Result.Outputs
	if r.Output >= len(all) {
		return "", unresolved(r, fmt.Sprintf("has %d outputs and no output %d", len(all), r.Output))
	}
	o := all[r.Output]
	lives := o.URL != "" && (o.ExpiresAt == nil || time.Until(*o.ExpiresAt) > linkMargin)
	switch {
	case lives && !(stored && o.IsStored()):
		return o.URL, nil
	case o.IsStored():
		return from.Link(ctx, d.Key(), r.Output)
	case o.Stored == nil:
		return "", ErrNotStored
	}
	return "", unresolved(r, fmt.Sprintf("has an output %d that could not be stored, and its link has died", r.Output))
}

// value returns the field that a reference stands for. raw is the provider's own result.
func value(r events.Reference, of events.Result, raw json.RawMessage) (json.RawMessage, error) {
	pointer := r.Field
	if !strings.HasPrefix(pointer, "/") {
		if v, ok := of.Values[pointer]; ok {
			return events.Marshal(v)
		}
		pointer = "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(pointer)
	}
	v, ok := at(raw, pointer)
	if !ok {
		return nil, unresolved(r, fmt.Sprintf("has no field %q in its result", r.Field))
	}
	return v, nil
}

func unresolved(r events.Reference, why string) *events.Error {
	return dependencyError(events.CodeDependencyFailed, r.Path, fmt.Sprintf("task %s, which it refers to, %s", r.From, why))
}

// at returns the value to which a JSON pointer (RFC 6901) leads; false if there is none, or null.
func at(raw json.RawMessage, pointer string) (json.RawMessage, bool) {
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(raw, &object) == nil:
			raw = object[token]
		case json.Unmarshal(raw, &list) == nil:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(list) {
				return nil, false
			}
			raw = list[i]
		default:
			return nil, false
		}
	}
	raw = bytes.TrimSpace(raw)
	return raw, len(raw) > 0 && !bytes.Equal(raw, []byte("null"))
}
