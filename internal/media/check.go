package media

import (
	"errors"
	"fmt"
	"mime"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// ErrNotMedia says that something else came than the file that was wanted: an error page, or nothing.
var ErrNotMedia = errors.New("it is not the file that was wanted")

// A Wanted is a file that a provider has promised: its link and what was said of it. All but the link may be empty.
type Wanted struct {
	// URL is a link, or a data: URL.
	URL         string
	ContentType string
	FileName    string
	// Size in bytes; 0 if it is not known.
	Size int64
	// SHA256 in hex.
	SHA256 string
	// Kind is what the file should be, for one of which neither the type nor a name says it.
	Kind Kind
}

// declared returns the media type that the file was said to have; empty if nothing was said.
func (w Wanted) declared() string {
	name, _, err := mime.ParseMediaType(w.ContentType)
	if err != nil || name == octetStream || name == "binary/octet-stream" {
		return ""
	}
	return name
}

var nameExtension = regexp.MustCompile(`^\.[A-Za-z0-9]{1,12}$`)

// nameExt returns the end of the link's path or of the file name; empty if neither has one.
func (w Wanted) nameExt() string {
	names := []string{w.FileName}
	if link, err := url.Parse(w.URL); err == nil && link.Scheme != "data" {
		names = []string{link.Path, w.FileName}
	}
	for _, name := range names {
		if ext := path.Ext(name); nameExtension.MatchString(ext) {
			return strings.ToLower(ext)
		}
	}
	return ""
}

// kind is what the file should be: by its type, else by its name, else as the caller says.
func (w Wanted) kind() Kind {
	if w.isText() {
		return KindText
	}
	if k := kindOf(w.declared()); k != KindUnknown {
		return k
	}
	if ext := w.nameExt(); w.declared() == "" && ext != "" {
		if k := kindOfExt(ext); k != KindUnknown {
			return k
		}
	}
	return w.Kind
}

// isText says of the file that it should be text, be it a picture (SVG), a model (OBJ) or a playlist.
func (w Wanted) isText() bool {
	if d := w.declared(); d != "" {
		return strings.HasPrefix(d, "text/") || isStructured(d) || playlists[d] || d == "model/obj" || d == "model/mtl"
	}
	switch w.nameExt() {
	case ".json", ".jsonl", ".xml", ".html", ".htm", ".txt", ".md", ".csv", ".srt", ".vtt", ".ass", ".lrc", ".svg",
		".obj", ".mtl", ".gltf", ".dae", ".ply", ".stl", ".m3u8", ".mpd", ".yaml", ".yml":
		return true
	}
	return false
}

// Check compares what came, size bytes that are got, with what was wanted. It fails with ErrNotMedia for an error page
// and for nothing; a warning is a sentence for people about a file that is another than was said and may be good.
func (w Wanted) Check(got Type, size int64) (warning string, err error) {
	kind := w.kind()
	wanted := w.declared()
	if wanted == "" {
		wanted = string(kind)
	}
	refused := fmt.Errorf("%w: it is %s (%d bytes) in place of %s", ErrNotMedia, got, size, wanted)
	if wanted == "" {
		refused = fmt.Errorf("%w: it is %s (%d bytes)", ErrNotMedia, got, size)
	}
	other := fmt.Sprintf("it is %s (%d bytes) in place of %s", got, size, wanted)
	switch {
	case got.Kind == KindEmpty && !(w.isText() && w.Size == 0):
		return "", refused
	case got.Kind == KindEmpty:
		return "it is empty", nil
	case got.MIME == "text/html" && !w.takesHTML():
		return "", refused
	case got.Kind == KindText && kind != KindText && kind != KindUnknown && !w.holds(got):
		return "", refused
	case got.Kind == KindPlaylist && !playlists[w.declared()] && w.nameExt() != got.Ext:
		return fmt.Sprintf("it is a playlist (%s), which names the media and does not hold it", got), nil
	case got.Kind == KindUnknown &&
		(kind == KindVideo || kind == KindImage || kind == KindAudio && got.MIME != ""): // else samples, or a model
		return other, nil
	case got.Kind == kind, got.Kind == KindUnknown, got.Kind == KindPlaylist, got.Kind == KindText, kind == KindUnknown:
		return "", nil
	case w.holds(got) || kind == KindText && strings.HasSuffix(got.MIME, "+xml") || kind == KindArchive:
		return "", nil
	default:
		return other, nil
	}
}

// takesHTML says that a web page may be what was wanted.
func (w Wanted) takesHTML() bool {
	switch d := w.declared(); d {
	case "text/html", "text/plain", "text/markdown", "application/xhtml+xml":
		return true
	case "":
		ext := w.nameExt()
		return ext == ".html" || ext == ".htm" || ext == ".txt" || ext == ".md"
	default:
		return false
	}
}

// describes says that what was said of the length is about this file, and not about another one in whose place it
// came.
func (w Wanted) describes(got Type) bool {
	said := extensionOf(w.declared())
	return got.MIME == "" || said == "" || said == got.Ext || w.holds(got) || got.Kind == KindText
}

// holds says that got may be a form of what was wanted: sound in MP4, WebM or Matroska, a model as plain text (OBJ,
// STL) or in a zip archive.
func (w Wanted) holds(got Type) bool {
	switch w.kind() {
	case KindAudio:
		return audioExt(got) != ""
	case KindModel:
		return got.Kind == KindArchive || got.MIME == "text/plain"
	default:
		return false
	}
}

// audioExt names a file of sound alone in a container that most often has pictures.
func audioExt(t Type) string {
	switch t.Ext {
	case ".mp4", ".mov":
		return ".m4a"
	case ".webm":
		return ".webm"
	case ".mkv":
		return ".mka"
	default:
		return ""
	}
}

// Ext returns the end of the file's name: by the bytes, and where those leave it open by what was said of the file,
// then by the Content-Type that its server sent, else ".bin".
func (w Wanted) Ext(got Type, served string) string {
	said := extensionOf(w.declared())
	if said == "" {
		said = extensionOf(Wanted{ContentType: served}.declared())
	}
	if said == "" || w.declared() == "" && w.nameExt() != "" && got.Kind == KindText {
		said = w.nameExt()
	}
	kind := w.kind()
	switch {
	case got.MIME == "":
	case got.Kind == KindText && (kind == KindText || kind == KindModel || kind == KindUnknown):
	case got.Kind == KindArchive && (kind == KindModel || kind == KindArchive || kind == KindUnknown):
	case kind == KindAudio && audioExt(got) != "":
		return audioExt(got)
	case got.MIME == "application/ogg" && kind == KindVideo:
		return ".ogv"
	default:
		return got.Ext
	}
	switch {
	case said != "":
		return said
	case got.Ext != "":
		return got.Ext
	default:
		return ".bin"
	}
}
