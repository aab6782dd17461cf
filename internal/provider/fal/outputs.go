package fal

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"reelay/events"
)

const (
	// maxOutputs bounds the files taken from one result.
	maxOutputs = 64
	// maxDepth bounds how deep in a result files are searched for; models nest them two or three deep.
	maxDepth = 16
	// maxURLBytes bounds a link, maxDataBytes a file that is its own link (data:).
	maxURLBytes  = 8 << 10
	maxDataBytes = 1 << 20
	// maxNameBytes bounds a file's name and content type.
	maxNameBytes = 200
)

// readOutputs finds the files in a result, in the order of its text. Models put them under many names (video, images,
// audio, ...), but each is a File: an object with a url. Only a result without one is searched for plain links, under
// names that end in "url": they may as well repeat the input's.
func readOutputs(raw json.RawMessage) []events.Output {
	var f finder
	f.value("", raw, 0)
	if len(f.files) > 0 {
		return f.files
	}
	return f.links
}

// A finder collects the files and the links of a result.
type finder struct{ files, links []events.Output }

func (f *finder) value(name string, raw json.RawMessage, depth int) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || depth > maxDepth {
		return
	}
	switch raw[0] {
	case '{':
		f.object(raw, depth)
	case '[':
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return
		}
		for _, item := range items {
			f.value(name, item, depth+1)
		}
	case '"':
		name = strings.TrimSuffix(strings.ToLower(name), "s")
		if link := text(raw); strings.HasSuffix(name, "url") && fetchable(link) && len(f.links) < maxOutputs {
			f.links = append(f.links, events.Output{URL: link, ContentType: dataType(link)})
		}
	}
}

// object reads a File, and whatever else its members hold, in order.
func (f *finder) object(raw json.RawMessage, depth int) {
	var file struct {
		URL         json.RawMessage `json:"url"`
		ContentType json.RawMessage `json:"content_type"`
		FileName    json.RawMessage `json:"file_name"`
		FileSize    json.RawMessage `json:"file_size"`
	}
	if json.Unmarshal(raw, &file) != nil {
		return
	}
	if link := text(file.URL); fetchable(link) && len(f.files) < maxOutputs {
		o := events.Output{URL: link, ContentType: short(text(file.ContentType)), FileName: short(text(file.FileName))}
		if o.ContentType == "" {
			o.ContentType = dataType(link)
		}
		var size float64 // some models write 1.5e6
		if json.Unmarshal(file.FileSize, &size) == nil && size > 0 && size < 1<<53 {
			o.Size = int64(size)
		}
		f.files = append(f.files, o)
	}
	for _, m := range members(raw) {
		f.value(m.name, m.value, depth+1)
	}
}

// A member is one name and value of an object.
type member struct {
	name  string
	value json.RawMessage
}

// members returns those of an object in the order of its text.
func members(raw json.RawMessage) []member {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil
	}
	var all []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return all
		}
		m := member{}
		m.name, _ = name.(string)
		if d.Decode(&m.value) != nil {
			return all
		}
		all = append(all, m)
	}
	return all
}

// fetchable reports whether a link is one of http or https, or a file within the limit that is its own link.
func fetchable(link string) bool {
	if strings.HasPrefix(link, "data:") {
		return len(link) <= maxDataBytes && strings.Contains(link, ",")
	}
	if len(link) > maxURLBytes {
		return false
	}
	u, err := url.Parse(link)
	return err == nil && slices.Contains([]string{"http", "https"}, u.Scheme) && u.Host != "" && u.User == nil
}

// dataType returns the content type that a data: link names.
func dataType(link string) string {
	rest, ok := strings.CutPrefix(link, "data:")
	if !ok {
		return ""
	}
	return short(rest[:max(0, strings.IndexAny(rest, ";,"))])
}

// short drops what is too long to be a name or a content type.
func short(s string) string {
	if len(s) > maxNameBytes {
		return ""
	}
	return s
}
