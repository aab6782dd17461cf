package fal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// maxOutputs bounds the files taken from one result, maxLinkBytes all their links that are not data: links, so that
	// a record holds them.
	maxOutputs   = 256
	maxLinkBytes = 64 << 10
	// maxDepth bounds how deep in a result files are searched for; models nest them two or three deep.
	maxDepth = 16
	// maxURLBytes bounds a link that is not itself the file.
	maxURLBytes = 8 << 10
	// maxNameBytes bounds a file's name and content type.
	maxNameBytes = 200
)

// found is what a result holds besides its text.
type found struct {
	outputs []events.Output
	// files says that a File is among them, and not only links.
	files bool
	// more is how many files are over the bounds.
	more int
	// flagged says that the provider calls the result not safe for work.
	flagged bool
}

// readOutputs finds the files in a result. Models put them under many names (video, images, audio, ...), mostly as a
// File: an object with a url. Any other link may be one too, and may as well repeat the input's. The first output is
// what the model makes: a video before audio before pictures, a File before a bare link, thumbnails last. Each link
// counts once.
func readOutputs(raw []byte) found {
	f := finder{dec: json.NewDecoder(bytes.NewReader(raw)), at: map[string]int{}}
	f.dec.UseNumber()
	f.value("", nil, 0)
	return f.result()
}

// result puts what was found in order, within the bounds.
func (f *finder) result() found {
	hinted := slices.ContainsFunc(f.all, func(c candidate) bool { return c.file })
	all := slices.DeleteFunc(f.all, func(c candidate) bool {
		// Beside files, a link that nothing calls one is a page about them.
		return c.output.URL == "" || hinted && !c.file && !c.known && !outputName.MatchString(c.name)
	})
	slices.SortStableFunc(all, candidate.compare)
	r, size := found{flagged: f.flagged, files: hinted}, 0
	for _, c := range all {
		if !provider.IsDataURL(c.output.URL) {
			size += len(c.output.URL)
		}
		if len(r.outputs) == maxOutputs || size > maxLinkBytes {
			r.more++
			continue
		}
		r.outputs = append(r.outputs, c.output)
	}
	return r
}

// The ranks of what a file is, by what a result with several kinds of files was asked for.
const (
	rankVideo = iota
	rankAudio
	rankMesh
	rankUnknown
	rankImage   = rankUnknown // in the order of the text
	rankBeside  = rankUnknown + 1
	rankPreview = rankUnknown + 2
)

// A candidate is a link that may be an output.
type candidate struct {
	output events.Output
	name   string
	file   bool
	rank   int
	known  bool // what kind of file it is
}

func (c candidate) compare(d candidate) int {
	switch {
	case c.rank != d.rank:
		return c.rank - d.rank
	case c.file != d.file && c.file:
		return -1
	case c.file != d.file:
		return 1
	}
	return 0
}

// Words in the names of a result's members.
var (
	outputName  = regexp.MustCompile(`(?i)ur[li]s?$|output|result|file|media|download|link|asset`)
	previewName = regexp.MustCompile(`(?i)thumb|preview|poster|cover|(^|_)(input|source|reference|original)`)
	flagName    = regexp.MustCompile(`(?i)^(has_)?nsfw(_(concepts?|content(_detected)?|detected))?s?$`)
	// addressName are fal's own addresses of a request.
	addressName = regexp.MustCompile(`^(status|response|cancel)_url$`)
	nameRanks   = []struct {
		rank int
		name *regexp.Regexp
	}{
		{rankVideo, regexp.MustCompile(`(?i)video|movie|clip`)},
		{rankAudio, regexp.MustCompile(`(?i)audio|speech|voice|music|sound|song|vocals`)},
		{rankMesh, regexp.MustCompile(`(?i)mesh|glb`)},
		{rankImage, regexp.MustCompile(`(?i)image|picture|photo`)},
	}
	extensionRanks = map[string]int{
		".mp4": rankVideo, ".webm": rankVideo, ".mov": rankVideo, ".mkv": rankVideo, ".avi": rankVideo, ".m3u8": rankVideo,
		".m4v": rankVideo, ".mp3": rankAudio, ".wav": rankAudio, ".flac": rankAudio, ".ogg": rankAudio, ".opus": rankAudio,
		".m4a": rankAudio, ".aac": rankAudio, ".glb": rankMesh, ".gltf": rankMesh, ".obj": rankMesh, ".fbx": rankMesh,
		".ply": rankMesh, ".usdz": rankMesh, ".stl": rankMesh, ".png": rankImage, ".jpg": rankImage, ".jpeg": rankImage,
		".webp": rankImage, ".gif": rankImage, ".avif": rankImage, ".heic": rankImage, ".bmp": rankImage, ".tiff": rankImage,
		".svg": rankImage, ".json": rankBeside, ".txt": rankBeside, ".srt": rankBeside, ".vtt": rankBeside,
	}
)

// rankOf tells a file's kind by its content type, else its extension, else the names that lead to it. A link that is
// known by its extension is one however it is written.
func rankOf(o events.Output, names []string) (rank int, known, extension bool) {
	if slices.ContainsFunc(names, previewName.MatchString) {
		return rankPreview, true, false
	}
	kind, _, _ := strings.Cut(o.ContentType, "/")
	if rank, ok := map[string]int{
		"video": rankVideo, "audio": rankAudio, "model": rankMesh, "image": rankImage, "text": rankBeside,
	}[strings.ToLower(kind)]; ok {
		return rank, true, false
	}
	link := ""
	if u, err := url.Parse(o.URL); err == nil && !provider.IsDataURL(o.URL) {
		link = u.Path
	}
	for _, name := range []string{link, o.FileName} {
		if rank, ok := extensionRanks[strings.ToLower(path.Ext(name))]; ok {
			return rank, true, true
		}
	}
	for i := len(names) - 1; i >= 0; i-- {
		for _, r := range nameRanks {
			if r.name.MatchString(names[i]) {
				return r.rank, true, false
			}
		}
	}
	return rankUnknown, false, false
}

// A finder reads a result once, and collects the links in it in the order of its text.
type finder struct {
	dec     *json.Decoder
	all     []candidate
	at      map[string]int // the place of a link in all
	flagged bool
}

// value reads the next value, which stands under these names.
func (f *finder) value(name string, names []string, depth int) bool {
	t, err := f.dec.Token()
	if err != nil {
		return false
	}
	switch v := t.(type) {
	case json.Delim:
		if depth > maxDepth {
			return f.skip()
		}
		if v == '{' {
			return f.object(names, depth)
		}
		for f.dec.More() {
			if !f.value(name, names, depth+1) {
				return false
			}
		}
		_, err = f.dec.Token()
		return err == nil
	case string:
		if depth > 0 && depth <= maxDepth {
			f.add(events.Output{URL: v}, names, false, -1)
		}
	case bool:
		f.flagged = f.flagged || v && flagName.MatchString(name)
	}
	return true
}

// skip reads on to the end of an object or list whose beginning was read.
func (f *finder) skip() bool {
	for open := 1; open > 0; {
		t, err := f.dec.Token()
		if err != nil {
			return false
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
	return true
}

// object reads a File, and whatever else its members hold. The File stands before those.
func (f *finder) object(names []string, depth int) bool {
	var o events.Output
	place := len(f.all)
	f.all = append(f.all, candidate{})
	for f.dec.More() {
		t, err := f.dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return false
		}
		var raw json.RawMessage
		switch name {
		case "url", "content_type", "file_name", "file_size":
			if f.dec.Decode(&raw) != nil {
				return false
			}
		default:
			if !f.value(name, append(slices.Clip(names), name), depth+1) {
				return false
			}
		}
		switch name {
		case "url":
			o.URL = text(raw)
		case "content_type":
			o.ContentType = short(text(raw))
		case "file_name":
			o.FileName = short(text(raw))
		case "file_size":
			var size float64 // some models write 1.5e6
			if json.Unmarshal(raw, &size) == nil && size > 0 && size < 1<<53 {
				o.Size = int64(size)
			}
		}
	}
	f.add(o, names, true, place)
	_, err := f.dec.Token()
	return err == nil
}

// add takes a link, at a place that was kept for it or at the end. A File replaces the same link that stood bare.
func (f *finder) add(o events.Output, names []string, file bool, place int) {
	o.URL = strings.TrimSpace(o.URL)
	name := ""
	if len(names) > 0 {
		name = names[len(names)-1]
	}
	if !fetchable(o.URL) || addressName.MatchString(name) && !file {
		return
	}
	if o.ContentType == "" {
		o.ContentType = dataType(o.URL)
	}
	rank, known, extension := rankOf(o, names)
	if !file && !extension && !provider.IsDataURL(o.URL) && strings.ContainsAny(o.URL, " \t\r\n") {
		return // a text that begins with a link
	}
	if old, seen := f.at[o.URL]; seen {
		if !file || f.all[old].file {
			return
		}
		f.all[old] = candidate{}
	}
	if place < 0 {
		place = len(f.all)
		f.all = append(f.all, candidate{})
	}
	f.at[o.URL] = place
	f.all[place] = candidate{output: o, name: name, file: file, rank: rank, known: known}
}

// fetchable reports whether a link is one of http or https, or a file that is its own link.
func fetchable(link string) bool {
	if provider.IsDataURL(link) {
		return strings.Contains(link, ",")
	}
	if len(link) > maxURLBytes {
		return false
	}
	u, err := url.Parse(link)
	return err == nil && slices.Contains([]string{"http", "https"}, u.Scheme) && u.Host != "" && u.User == nil
}

// dataType returns the content type that a data: link names.
func dataType(link string) string {
	if !provider.IsDataURL(link) {
		return ""
	}
	rest := link[len("data:"):]
	return short(rest[:max(0, strings.IndexAny(rest, ";,"))])
}

// mediaBytes returns a result that is the file itself as a data: link: one of a known kind by its first bytes or its
// header, or any when it is known to be a file.
func mediaBytes(h http.Header, body []byte, file bool) (events.Output, bool) {
	kind := http.DetectContentType(body)
	if !isMedia(kind) && isMedia(h.Get("Content-Type")) {
		kind = h.Get("Content-Type")
	}
	if i := strings.IndexByte(kind, ';'); i >= 0 {
		kind = kind[:i]
	}
	kind = strings.ToLower(strings.TrimSpace(kind))
	if len(body) == 0 || !isMedia(kind) && !file || len(kind) > maxNameBytes {
		return events.Output{}, false
	}
	link := fmt.Sprintf("data:%s;base64,%s", kind, base64.StdEncoding.EncodeToString(body))
	return events.Output{URL: link, ContentType: kind, Size: int64(len(body))}, true
}

func isMedia(kind string) bool {
	for _, prefix := range []string{"video/", "audio/", "image/", "application/zip"} {
		if strings.HasPrefix(strings.ToLower(kind), prefix) {
			return true
		}
	}
	return false
}

// short drops what is too long to be a name or a content type.
func short(s string) string {
	if len(s) > maxNameBytes {
		return ""
	}
	return s
}
