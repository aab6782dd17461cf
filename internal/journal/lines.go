package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// Each line is an entry in JSON whose last field is a checksum of all before it. A build that knows of none reads the
// entry all the same.
const (
	sumField = `,"sum":"`
	sumBytes = len(sumField) + 8 + len(`"}`)
)

// castagnoli is the polynomial that file systems use for the same, as processors have it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal adds the checksum to an entry, and ends the line.
func seal(entry []byte) []byte {
	sum := crc32.Checksum(entry, castagnoli)
	return fmt.Appendf(entry[:len(entry)-1], `%s%08x"}`+"\n", sumField, sum)
}

var errDamaged = errors.New("its checksum is another one")

// unseal reads the entry of a line, without its end. A file of an earlier build has no checksum in any line.
func unseal(line []byte) (e Entry, sealed bool, err error) {
	if at := len(line) - sumBytes; at > 0 && bytes.HasPrefix(line[at:], []byte(sumField)) && bytes.HasSuffix(line, []byte(`"}`)) {
		entry := append(bytes.Clone(line[:at]), '}')
		if fmt.Sprintf("%08x", crc32.Checksum(entry, castagnoli)) != string(line[at+len(sumField):len(line)-2]) {
			return e, true, errDamaged
		}
		line, sealed = entry, true
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return e, sealed, err
	}
	if e.Owner == "" {
		return e, sealed, errors.New("it names no owner")
	}
	return e, sealed, nil
}

// read takes in a journal. A last line that a crash has cut off was never acted on and is left out. One that is damaged
// is left out as well: as it may have said that a request has left, none of the file proves any more that its request
// has not. It reports whether no line was damaged.
func (j *Journal) read(path string) (whole bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	var owners []string
	damaged, allSealed := 0, false
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return false, fmt.Errorf("journal %s: %w", path, err)
		}
		if len(line) == 0 {
			break
		}
		e, sealed, err := unseal(bytes.TrimSuffix(line, []byte("\n")))
		if last && err != nil {
			j.log.Warn("a submit journal ends in a line that was cut off and is left out", "file", path)
			break
		}
		allSealed = allSealed || sealed
		if err == nil && allSealed && !sealed {
			err = errDamaged
		}
		if err != nil {
			damaged++
			j.log.Error("a line of a submit journal is damaged and is left out", "file", path, "error", err)
			continue
		}
		owners = append(owners, e.Owner)
		j.remember(e)
	}
	for _, owner := range owners {
		if e := j.entries[owner]; damaged > 0 && !e.Done && e.Answer == nil && !e.Gated {
			doubtful := *e
			doubtful.Gated = true
			j.remember(doubtful)
		}
	}
	return damaged == 0, nil
}
