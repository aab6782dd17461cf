// Package chunk fills the messages that a stored object is cut into.
package chunk

import "io"

// Bytes is the size of one message of an object: half of what a NATS server takes by default, and few enough for a broker
// that syncs each.
const Bytes = 512 << 10

// Full reads From so that each buffer is filled but the last: a store that sends a message for each read then sends few.
// It takes no error for an end but io.EOF.
type Full struct{ From io.Reader }

// Read implements io.Reader.
func (f Full) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var read int
		read, err = f.From.Read(p[n:])
		n += read
	}
	return n, err
}
