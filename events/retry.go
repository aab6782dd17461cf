package events

import (
	"maps"
	"slices"
)

// validRetry checks what a request says of the task that it repeats. Its error is a FieldError.
func (r Request) validRetry() error {
	switch {
	case r.RetryOf == "" && r.PayAgain:
		return fieldError("pay_again", "belongs to retry_of only")
	case r.RetryOf == "" && len(r.Replace) > 0:
		return fieldError("replace", "belongs to retry_of only")
	case r.RetryOf == "":
		return nil
	case !ValidToken(r.RetryOf):
		return fieldError("retry_of", "must be a task id: 1 to %d characters of A-Z a-z 0-9 _ -", MaxTokenBytes)
	case r.RetryOf == r.ID:
		return fieldError("retry_of", "names the task itself: a retry has an id of its own")
	case len(r.Replace) > MaxDependencies:
		return fieldError("replace", "%d entries are over the limit of %d", len(r.Replace), MaxDependencies)
	}
	for _, id := range slices.Sorted(maps.Keys(r.Replace)) {
		if !ValidToken(id) || !ValidToken(r.Replace[id]) {
			return fieldError("replace", "must be task ids: 1 to %d characters of A-Z a-z 0-9 _ -", MaxTokenBytes)
		}
	}
	for _, own := range []struct {
		field string
		given bool
	}{
		{"provider", r.Provider != ""},
		{"model", r.Model != ""},
		{"input", len(r.Input) > 0},
		{"want", r.Want != nil},
		{"input_files", len(r.InputFiles) > 0},
		{"lenient", r.Lenient},
		{"after", len(r.After) > 0},
		{"on_dependency", r.OnDependency != ""},
	} {
		if own.given {
			return fieldError(own.field, "is that of the task that retry_of names; leave it out")
		}
	}
	return nil
}
