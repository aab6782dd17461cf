// Package smallfile reads files that people write, such as settings and tables, no further than to a limit.
package smallfile

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooLarge says that a file is over its limit.
var ErrTooLarge = errors.New("is larger")

// Read returns what is in a file. It fails with ErrTooLarge if that is more than so many bytes.
func Read(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(text) > most {
		return nil, fmt.Errorf("%s %w than %d bytes", path, ErrTooLarge, most)
	}
	return text, err
}
