package artifact

import "errors"

// Objects in buckets of somebody's own, which are read as inputs of tasks.

var (
	// ErrNotAllowed says that an operator does not allow the bucket of an object.
	ErrNotAllowed = errors.New("its bucket is not in the operator's list --inputs-from (REELAY_INPUTS_FROM)")
	// ErrRefused says that the store of an object refuses to hand it out.
	ErrRefused = errors.New("the credentials of the archiver do not reach it")
)

// An Object is what its store knows of an object without reading it. ETag is another for other bytes.
type Object struct {
	Size              int64
	ETag, ContentType string
}
