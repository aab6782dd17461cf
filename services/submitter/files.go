package submitter

import (
	"context"
	"errors"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/inputs"
)

const (
	// fileWait is how soon a task is tried again whose files could not be handed to the provider.
	fileWait = 15 * time.Second
	// copyWait is for how long a request waits, once it is taken in, for the copy of an object that it names.
	copyWait = 15 * time.Minute
	// copyAgain is how soon it asks for it again.
	copyAgain = 5 * time.Second
)

// pin makes the files of a request a part of it.
func (s *Service) pin(ctx context.Context, m bus.Message, k events.Key, r events.Request) (events.Request, error) {
	r, err := s.files.Pin(ctx, k, r)
	var late *inputs.NotCopied
	if errors.As(err, &late) && time.Duration(m.Delivered)*copyAgain > copyWait {
		err = late.GiveUp()
	}
	return r, refuseFile(k, "", err)
}

// refuseFile makes a rejection of what is wrong with a file, or with a task to retry; another error stays what it is.
func refuseFile(k events.Key, digest string, err error) error {
	var bad *events.Error
	var fe *events.FieldError
	switch {
	case errors.As(err, &bad):
		return &rejection{key: k, digest: digest, err: bad}
	case errors.As(err, &fe):
		return refuse(k, digest, events.CodeInvalidRequest, err)
	}
	return err
}

// resolveFiles gives the provider the files that the input names. It costs nothing, and what it leaves undone is done by
// the next attempt.
func (a *attempt) resolveFiles(ctx context.Context) bool {
	r, err := a.Service.files.Resolve(ctx, a.lane.Lane, a.task, a.input)
	var bad *events.Error
	switch {
	case errors.As(err, &bad):
		a.renderErr = bad
	case err != nil:
		a.log.WarnContext(ctx, "a file of the request could not be handed to the provider; it is tried again", "error", err)
		a.notBefore = time.Now().Add(fileWait)
		return false
	default:
		a.input, a.files = r.Input, r.Files
	}
	return true
}
