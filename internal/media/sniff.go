package media

import (
	"bytes"
	"mime"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// SniffBytes is how much of a file's beginning decides what it is.
const SniffBytes = 4096

// A Kind is what a file is to a person.
type Kind string

// The kinds. KindUnknown is also that of raw samples, which have no mark to be known by.
const (
	KindUnknown  Kind = ""
	KindEmpty    Kind = "empty"
	KindVideo    Kind = "video"
	KindImage    Kind = "image"
	KindAudio    Kind = "audio"
	KindModel    Kind = "model"
	KindText     Kind = "text" // HTML, JSON and XML, too
	KindArchive  Kind = "archive"
	KindPlaylist Kind = "playlist" // it names media and holds none
)

// A Type is what bytes are. The zero Type is that of bytes that nobody knows.
type Type struct {
	// MIME is the media type, without parameters.
	MIME string
	// Ext is the end of a file name for it, with its dot.
	Ext  string
	Kind Kind
}

// String returns the media type, or words where there is none.
func (t Type) String() string {
	switch {
	case t.Kind == KindEmpty:
		return "empty"
	case t.MIME == "":
		return "of no known type"
	default:
		return t.MIME
	}
}

const octetStream = "application/octet-stream"

// Sniff says what a file is by its first bytes; SniffBytes of them are enough.
func Sniff(head []byte) Type {
	if len(head) == 0 {
		return Type{Kind: KindEmpty}
	}
	// A byte order mark of UTF-16 is also how raw samples may begin, and no error page is written so.
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return Type{}
	}
	found := mimetype.Detect(head[:min(len(head), SniffBytes)])
	name, _, err := mime.ParseMediaType(found.String())
	if err != nil || name == octetStream {
		return Type{}
	}
	if name == "text/xml" && bytes.Contains(head, []byte("<MPD")) {
		name = "application/dash+xml"
	}
	t := Type{MIME: name, Ext: found.Extension(), Kind: kindOf(name)}
	if ext := extensionOf(name); ext != "" {
		t.Ext = ext
	}
	for parent := found; t.Kind == KindUnknown && parent != nil; parent = parent.Parent() {
		if parent.Is("text/plain") {
			t.Kind = KindText
		}
	}
	return t
}

// kindOf returns the kind of a media type. KindUnknown is also that of "application/octet-stream", which says nothing.
func kindOf(name string) Kind {
	switch {
	case playlists[name]:
		return KindPlaylist
	case archives[name]:
		return KindArchive
	case name == "application/ogg":
		return KindAudio
	case strings.HasPrefix(name, "video/"):
		return KindVideo
	case strings.HasPrefix(name, "image/"):
		return KindImage
	case strings.HasPrefix(name, "audio/"):
		return KindAudio
	case strings.HasPrefix(name, "model/"):
		return KindModel
	case strings.HasPrefix(name, "text/"), isStructured(name):
		return KindText
	default:
		return KindUnknown
	}
}

// kindOfExt returns the kind of the files that a name's end is for, as far as that is common.
func kindOfExt(ext string) Kind {
	switch ext {
	case ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ogv":
		return KindVideo
	case ".png", ".apng", ".jpg", ".jpeg", ".webp", ".gif", ".heic", ".heif", ".avif", ".tiff", ".tif", ".bmp":
		return KindImage
	case ".mp3", ".wav", ".ogg", ".oga", ".opus", ".flac", ".m4a", ".aac", ".pcm":
		return KindAudio
	case ".glb", ".usdz", ".fbx", ".obj", ".stl", ".ply", ".gltf":
		return KindModel
	case ".zip", ".gz", ".tgz", ".tar":
		return KindArchive
	default:
		return KindUnknown
	}
}

// isStructured says of a media type that it is JSON or XML, or written in one of them.
func isStructured(name string) bool {
	switch name {
	case "application/json", "application/xml", "application/x-ndjson", "application/jsonl", "application/x-subrip",
		"application/yaml", "application/javascript":
		return true
	}
	return strings.HasSuffix(name, "+json") || strings.HasSuffix(name, "+xml")
}

// playlists are the media types of HLS, RFC 8216 section 4 and what came before it, and of DASH.
var playlists = map[string]bool{
	"application/vnd.apple.mpegurl": true, "application/x-mpegurl": true, "audio/mpegurl": true, "audio/x-mpegurl": true,
	"application/dash+xml": true,
}

var archives = map[string]bool{
	"application/zip": true, "application/x-zip-compressed": true, "application/gzip": true, "application/x-gzip": true,
	"application/x-tar": true, "application/x-7z-compressed": true, "application/zstd": true,
}

// extensionOf names media types alike on every system; the tables of package mime depend on what is installed. It
// returns "" for a type that it does not know.
func extensionOf(name string) string {
	switch name {
	case "audio/mp3":
		return ".mp3"
	case "audio/x-wav", "audio/wave", "audio/vnd.wave":
		return ".wav"
	case "audio/x-flac":
		return ".flac"
	case "audio/x-m4a", "audio/m4a":
		return ".m4a"
	case "audio/webm":
		return ".webm"
	case "text/xml":
		return ".xml"
	}
	if playlists[name] && name != "application/dash+xml" {
		return ".m3u8"
	}
	return extensions[name]
}

var extensions = map[string]string{
	"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov", "video/x-matroska": ".mkv",
	"video/matroska": ".mkv", "video/ogg": ".ogv", "video/mp2t": ".ts",
	"image/png": ".png", "image/vnd.mozilla.apng": ".png", "image/apng": ".png",
	"image/jpeg": ".jpg", "image/jpg": ".jpg",
	"image/webp": ".webp", "image/gif": ".gif", "image/heic": ".heic", "image/heif": ".heif", "image/avif": ".avif",
	"image/svg+xml": ".svg", "image/tiff": ".tiff", "image/bmp": ".bmp",
	"audio/mpeg": ".mp3", "audio/wav": ".wav", "audio/ogg": ".ogg", "audio/opus": ".opus", "application/ogg": ".ogg",
	"audio/flac": ".flac", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/pcm": ".pcm", "audio/l16": ".pcm",
	"model/gltf-binary": ".glb", "model/gltf+json": ".gltf", "model/obj": ".obj", "model/stl": ".stl",
	"model/vnd.usdz+zip": ".usdz", "application/zip": ".zip", "application/json": ".json", "application/xml": ".xml",
	"application/dash+xml": ".mpd", "text/html": ".html", "text/plain": ".txt", "text/vtt": ".vtt", "text/csv": ".csv",
	"application/x-subrip": ".srt", "application/x-ndjson": ".jsonl",
}

// TypeOfExt returns the media type of files with that ending, octets where it is not known. Of several types with one
// ending it is the one by which the ending is known best.
func TypeOfExt(ext string) string {
	best := octetStream
	for name, e := range extensions {
		if e == ext && (best == octetStream || len(name) < len(best) || len(name) == len(best) && name < best) {
			best = name
		}
	}
	return best
}
