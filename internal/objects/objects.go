// Package objects reads what NATS' object store holds, message by message. The client's own reader waits for the next
// message until its deadline, also when its context is cancelled or the broker is gone.
package objects

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrDigest says that the bytes of an object are not those that were stored.
var ErrDigest = errors.New("its bytes have another digest")

// messageWait bounds the wait for one message.
const messageWait = 15 * time.Second

// A Reader reads one object. Its stream is that of the object's bucket.
type Reader struct {
	ctx    context.Context
	stream jetstream.Stream
	info   *jetstream.ObjectInfo
	// subject is that of the messages that hold the object.
	subject string
	sum     hash.Hash
	// chunks is how many messages have come, last the sequence of the last of them, rest what is left of it.
	chunks uint32
	last   uint64
	rest   []byte
}

// NewReader returns a reader of an object, which works until ctx ends. At the end of the object it fails with ErrDigest if
// the bytes are not those that were stored.
func NewReader(ctx context.Context, stream jetstream.Stream, info *jetstream.ObjectInfo) *Reader {
	return &Reader{
		ctx: ctx, stream: stream, info: info, subject: "$O." + info.Bucket + ".C." + info.NUID, sum: sha256.New(),
	}
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		if r.chunks == r.info.Chunks {
			return 0, r.end()
		}
		ctx, cancel := context.WithTimeout(r.ctx, messageWait)
		m, err := r.stream.GetMsg(ctx, r.last+1, jetstream.WithGetMsgSubject(r.subject))
		cancel()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", r.info.Name, err)
		}
		r.sum.Write(m.Data)
		r.rest, r.last, r.chunks = m.Data, m.Sequence, r.chunks+1
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// end is io.EOF if all bytes are those that were stored.
func (r *Reader) end() error {
	if jetstream.GetObjectDigestValue(r.sum) != r.info.Digest {
		return fmt.Errorf("%s: %w", r.info.Name, ErrDigest)
	}
	return io.EOF
}

// Close implements io.Closer. Nothing is held.
func (r *Reader) Close() error { return nil }
