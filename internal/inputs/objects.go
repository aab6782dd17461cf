package inputs

import (
	"context"
	"errors"
	"strings"

	"reelay/events"
	"reelay/events/client"
)

// A NotCopied says that an object which a request names has no copy yet: it is under way, or the archiver or the store of
// the object does not answer. It may be asked for again.
type NotCopied struct {
	ref events.FileReference
	err error
}

func (n *NotCopied) Error() string {
	return n.ref.Path + ": " + n.ref.Name + " is not copied yet: " + n.err.Error()
}

// Unwrap returns why.
func (n *NotCopied) Unwrap() error { return n.err }

// GiveUp is the error of a request that does not wait any longer. It may be sent again.
func (n *NotCopied) GiveUp() *events.Error {
	e := refused(events.CodeUnavailable, n.ref, "%s could not be copied: %v", n.ref.Name, n.err)
	e.Kind, e.Retryable = events.KindRetry, true
	return e
}

// copied returns the file that stands for an object which a reference names: its copy, which the archiver makes unless it
// is there. Of an object that is gone it is that of the task, if the request has become one before.
func (f *Files) copied(ctx context.Context, k events.Key, ref events.FileReference) (events.FileReference, error) {
	file, err := f.client.CopyInput(ctx, k.Project, events.CopyRequest{URL: ref.Name})
	var no *client.Error
	switch {
	case errors.As(err, &no) && !no.Reason.Retryable:
		known, readErr := f.pinned(ctx, k)
		if readErr != nil {
			return ref, readErr
		}
		for name, sum := range known {
			if strings.HasPrefix(name, events.CopyPrefix(ref.Name)) {
				return events.FileReference{Name: name, SHA256: sum}, nil
			}
		}
		return ref, refused(no.Reason.Code, ref, "%s: %s", ref.Name, no.Reason.Message)
	case err != nil:
		return ref, &NotCopied{ref, err}
	case ref.SHA256 != "" && ref.SHA256 != file.SHA256:
		return ref, changed(ref, file.SHA256)
	}
	return events.FileReference{Name: file.Name, SHA256: file.SHA256}, nil
}
