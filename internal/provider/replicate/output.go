package replicate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	// maxOutputs bounds the files that are taken from one output, maxURLBytes a link that is not itself the file.
	maxOutputs  = 256
	maxURLBytes = 8 << 10
	// maxDepth bounds how deep in an output links are searched for.
	maxDepth = 16
	// kept is how long after its end the files of a prediction can be fetched.
	kept = time.Hour
	// valueOutput names an output that is a text or a number and no link.
	valueOutput = "output"
)

// readOutput finds the files in an output of any shape: each text in it that is a link, in their order, once. An output that
// is one text and no link is a value.
func (d *Driver) readOutput(s *provider.Snapshot, p jsonapi.Object) {
	f := finder{dec: json.NewDecoder(bytes.NewReader(p["output"])), own: d.api.Base() + "/", seen: map[string]bool{}}
	f.dec.UseNumber()
	f.value(0)
	if at := p.Time("completed_at"); !at.IsZero() {
		at = at.Add(kept)
		for i := range f.found {
			if !provider.IsDataURL(f.found[i].URL) {
				f.found[i].ExpiresAt = &at
			}
		}
	}
	s.Outputs = f.found
	if f.more > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("The result has %d more files; they are in raw only.", f.more))
	}
	if text := p.Text("output"); len(f.found) == 0 && text != "" && len(text) <= events.MaxValueBytes {
		s.Values = map[string]string{valueOutput: text}
	}
}

// A finder reads an output once.
type finder struct {
	dec   *json.Decoder
	own   string
	seen  map[string]bool
	found []events.Output
	more  int
}

// value reads the next value; false at the end of what can be read.
func (f *finder) value(depth int) bool {
	t, err := f.dec.Token()
	if err != nil || depth > maxDepth {
		return false
	}
	switch v := t.(type) {
	case string:
		f.add(v)
	case json.Delim:
		for f.dec.More() {
			if v == '{' {
				if _, err := f.dec.Token(); err != nil { // the name of a member
					return false
				}
			}
			if !f.value(depth + 1) {
				return false
			}
		}
		_, err = f.dec.Token()
	}
	return err == nil
}

func (f *finder) add(link string) {
	data := provider.IsDataURL(link)
	isLink := data || strings.HasPrefix(link, "https://") || strings.HasPrefix(link, f.own)
	switch {
	case !isLink || !data && len(link) > maxURLBytes || strings.ContainsAny(link, " \n") || f.seen[link]:
	case len(f.found) == maxOutputs:
		f.more++
	default:
		f.seen[link] = true
		f.found = append(f.found, events.Output{URL: link})
	}
}
