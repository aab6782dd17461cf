package provider

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
)

// maxEncodings bounds how often one body is compressed.
const maxEncodings = 3

// decoded returns the body without its Content-Encoding (RFC 9110, 8.4), and takes the header away. An encoding that
// nobody knows is left in place.
func decoded(res *http.Response) (io.Reader, error) {
	in := io.Reader(res.Body)
	names := strings.Split(strings.Join(res.Header.Values("Content-Encoding"), ","), ",")
	if len(names) > maxEncodings {
		return nil, fmt.Errorf("the answer is compressed %d times over", len(names))
	}
	for i := len(names) - 1; i >= 0; i-- { // the last was put on last
		switch strings.ToLower(strings.TrimSpace(names[i])) {
		case "gzip", "x-gzip":
			buffered := bufio.NewReader(in)
			if _, err := buffered.Peek(1); err == io.EOF {
				return buffered, nil // no body at all
			}
			z, err := gzip.NewReader(buffered)
			if err != nil {
				return nil, err
			}
			in = z
		case "deflate":
			in = inflate(bufio.NewReader(in))
		case "br":
			in = brotli.NewReader(in)
		case "", "identity":
		default:
			return in, nil
		}
	}
	res.Header.Del("Content-Encoding")
	return in, nil
}

// inflate reads "deflate", which is zlib by the RFC and without its header from some servers.
func inflate(in *bufio.Reader) io.Reader {
	if head, err := in.Peek(2); err == nil && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		if z, err := zlib.NewReader(in); err == nil {
			return z
		}
	}
	return flate.NewReader(in)
}

// cleanText takes a byte order mark away and makes UTF-8 of a text: a byte that is none is read as one of Latin-1,
// whatever the charset says, since many servers name a wrong one.
func cleanText(h http.Header, body []byte) []byte {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if utf8.Valid(body) || !isText(h, body) {
		return body
	}
	out := make([]byte, 0, len(body)+len(body)/8)
	for len(body) > 0 {
		r, n := utf8.DecodeRune(body)
		if r == utf8.RuneError && n == 1 {
			r = rune(body[0])
		}
		out = utf8.AppendRune(out, r)
		body = body[n:]
	}
	return out
}

func isText(h http.Header, body []byte) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if strings.HasPrefix(kind, "text/") {
		return true
	}
	first := bytes.TrimSpace(body[:min(len(body), 64)])
	return len(first) > 0 && (first[0] == '{' || first[0] == '[' || first[0] == '"')
}
