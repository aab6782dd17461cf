package minimax

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/address"
	"reelay/internal/provider"
)

const (
	// maxURLBytes bounds the link of a result, unless the link is itself the file.
	maxURLBytes = 8 << 10
	// maxLinks bounds the files taken from one answer.
	maxLinks = 64
	// maxLinkDepth bounds how deep in an answer links are searched for.
	maxLinkDepth = 16
)

// Names under which a link is, or is not, a result.
var (
	notResult = regexp.MustCompile(
		`(?i)callback|webhook|input|request|reference|subject|frame|origin|docs?$|help|msg|message`)
	videoName  = regexp.MustCompile(`(?i)video|movie|clip`)
	beside     = regexp.MustCompile(`(?i)cover|thumb|poster|preview|image|picture`)
	videoFile  = regexp.MustCompile(`(?i)^\.(mp4|mov|webm|mkv|m3u8|m4v)$`)
	besideFile = regexp.MustCompile(`(?i)^\.(png|jpe?g|webp|gif|avif|heic|json|txt|srt|vtt)$`)
)

// A candidate is a link that may be a result. The lowest rank is the likeliest.
type candidate struct {
	link string
	rank int
}

// findOutputs returns the links in an answer whose documented place is empty, under whatever name: the video first,
// pictures of it last, each link once. The notes tell of those over maxLinks.
func (d *Driver) findOutputs(answer []byte) (outputs []events.Output, notes []string) {
	var v any
	if json.Unmarshal(answer, &v) != nil {
		return nil, nil
	}
	all := candidates(v, "", 0, nil)
	slices.SortStableFunc(all, func(a, b candidate) int { return a.rank - b.rank })
	known := map[string]bool{}
	for _, c := range all {
		o, ok := d.output(c.link, "")
		if !ok || known[o.URL] {
			continue
		}
		if known[o.URL] = true; len(known) <= maxLinks {
			outputs = append(outputs, o)
		}
	}
	if more := len(known) - maxLinks; more > 0 {
		notes = []string{fmt.Sprintf("%d more in the raw result", more)}
	}
	return outputs, notes
}

func candidates(v any, name string, depth int, all []candidate) []candidate {
	if depth > maxLinkDepth || notResult.MatchString(name) {
		return all
	}
	switch v := v.(type) {
	case string:
		if isLink(v) {
			all = append(all, candidate{link: v, rank: rankOf(v, name)})
		}
	case []any:
		for _, item := range v {
			all = candidates(item, name, depth+1, all)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = candidates(v[key], key, depth+1, all)
		}
	}
	return all
}

func isLink(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s[:min(len(s), 64)]))
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") || provider.IsDataURL(s)
}

func rankOf(link, name string) int {
	kind, ext := mediaType(link), ""
	if u, err := url.Parse(link); err == nil && !provider.IsDataURL(link) {
		ext = path.Ext(u.Path)
	}
	switch {
	case strings.HasPrefix(kind, "video/") || videoFile.MatchString(ext):
		return 0
	case kind != "" || besideFile.MatchString(ext) || beside.MatchString(name):
		return 3
	case videoName.MatchString(name):
		return 1
	}
	return 2
}

// mediaType is what a data: link says of itself; "" for other links.
func mediaType(link string) string {
	if !provider.IsDataURL(link) {
		return ""
	}
	kind, _, _ := strings.Cut(link[5:min(len(link), 5+events.MaxModelBytes)], ",")
	kind, _, _ = strings.Cut(kind, ";")
	return strings.ToLower(kind)
}

// output reads the link of a result; ok is false for what is none. Plain http is upgraded: some of MiniMax's storage
// refuses it.
func (d *Driver) output(link, fileName string) (o events.Output, ok bool) {
	o.FileName = d.clean(fileName, events.MaxModelBytes)
	if link = strings.TrimSpace(link); provider.IsDataURL(link) {
		o.URL, o.ContentType = string(d.redactRaw([]byte(link))), d.clean(mediaType(link), events.MaxModelBytes)
		return o, strings.Contains(link, ",")
	}
	link = escaped(link)
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(link) > maxURLBytes {
		return events.Output{}, false
	}
	if u.Scheme == "http" && !address.IsLoopback(u.Hostname()) {
		u.Scheme = "https"
		link = u.String()
	}
	o.URL = d.clean(link, maxURLBytes)
	if strings.HasSuffix(strings.ToLower(u.Path), ".mp4") {
		o.ContentType = "video/mp4"
	}
	return o, true
}

// escaped writes a link as a browser sends it (https://url.spec.whatwg.org): blanks at its ends and line ends go, and
// what cannot stand in a path or query is percent-encoded. The host stays.
func escaped(link string) string {
	link = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(link)
	start := strings.Index(link, "://")
	if start < 0 {
		return link
	}
	start += len("://")
	if slash := strings.IndexAny(link[start:], "/?#"); slash >= 0 {
		start += slash
	} else {
		return link
	}
	var b strings.Builder
	b.WriteString(link[:start])
	for i := start; i < len(link); i++ {
		c := link[i]
		stray := c == '%' && (i+2 >= len(link) || !isHex(link[i+1]) || !isHex(link[i+2]))
		if c <= ' ' || c >= 0x7f || stray || strings.IndexByte("\"<>`{}|\\^", c) >= 0 {
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
