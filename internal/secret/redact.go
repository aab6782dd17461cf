package secret

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

const (
	// minHalfBytes is the least length of a part of a key that counts as secret by itself: a shorter one stands in texts by
	// chance.
	minHalfBytes = 8
	// maxEscapes is how many escapes may be put around one character, one over the other.
	maxEscapes = 8
	// maxBackslashes is how many stand before a character that was escaped so often.
	maxBackslashes = 1 << maxEscapes
)

// A Redactor takes a key out of what strangers say, however it stands there: as it is, in base64 with whatever before
// and behind it, in hex, and each of these with escapes of JSON and of URLs; and so each half of a key that is
// id:secret. The zero Redactor takes nothing out. It is safe for concurrent use.
type Redactor struct {
	forms []form
	// starts says with which bytes a form may begin, backslash whether one begins with it itself.
	starts    [256]bool
	backslash bool
}

// A form is how a key may stand in a text.
type form struct {
	text string
	// fold says that letters may be small or large.
	fold bool
}

// NewRedactor returns the redactor of a key; one shorter than 8 bytes is not looked for.
func NewRedactor(key Value) *Redactor {
	r := &Redactor{}
	text := key.Reveal()
	id, half, two := strings.Cut(text, ":")
	parts := []string{text}
	if two {
		parts = append(parts, half, id)
	}
	for _, part := range parts {
		if len(part) < minHalfBytes {
			continue
		}
		r.add(form{text: part})
		r.add(form{hex.EncodeToString([]byte(part)), true})
		for before := range 3 {
			r.add(form{text: inBase64(part, before, base64.RawStdEncoding)})
			r.add(form{text: inBase64(part, before, base64.RawURLEncoding)})
		}
	}
	return r
}

// Format prints [redacted] for every verb.
func (r *Redactor) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// inBase64 is what is the same in the base64 of every text that has a part behind so many bytes, modulo 3.
func inBase64(part string, before int, e *base64.Encoding) string {
	encoded := e.EncodeToString(append(make([]byte, before), part...))
	first := (before*8 + 5) / 6 // characters that bits of others are in
	last := (before + len(part)) * 8 / 6
	return encoded[first:last]
}

func (r *Redactor) add(f form) {
	for _, known := range r.forms {
		if known == f {
			return
		}
	}
	r.forms = append(r.forms, f)
	r.starts[f.text[0]], r.starts['\\'], r.starts['%'] = true, true, true
	r.backslash = r.backslash || f.text[0] == '\\'
	if f.fold {
		r.starts[strings.ToUpper(f.text)[0]] = true
	}
}

// Text returns a text without the key.
func (r *Redactor) Text(text string) string {
	if found := redact(r, text); found != nil {
		return string(found)
	}
	return text
}

// Bytes is Text of bytes. What it is given stays as it is.
func (r *Redactor) Bytes(text []byte) []byte {
	if found := redact(r, text); found != nil {
		return found
	}
	return text
}

// redact returns nil where nothing is to be taken out.
func redact[T string | []byte](r *Redactor, text T) []byte {
	var out []byte
	done := 0
	for i := 0; i < len(text); {
		n, next := 0, i+1
		if text[i] == '\\' && !r.backslash { // a form stands behind all of the run, or behind none of it
			next = afterRun(text, i)
			i = max(i, next-maxBackslashes)
		}
		if r.starts[text[i]] {
			n = longest(r, text, i)
		}
		if n == 0 {
			i = next
			continue
		}
		out = append(append(out, text[done:i]...), redacted...)
		i += n
		done = i
	}
	if out == nil {
		return nil
	}
	return append(out, text[done:]...)
}

// afterRun is the place behind a run of backslashes.
func afterRun[T string | []byte](text T, at int) int {
	for at < len(text) && text[at] == '\\' {
		at++
	}
	return at
}

// longest is how many bytes the longest form takes that stands at a place; 0 for none.
func longest[T string | []byte](r *Redactor, text T, at int) (n int) {
	c, _ := character(text, at)
	for _, f := range r.forms {
		if f.same(0, c) || f.same(0, text[at]) {
			n = max(n, match(f, 0, text, at)-at)
		}
	}
	return n
}

// match is where the rest of a form, from its character k on, ends in a text; 0 where it does not stand at a place. Each
// character may be escaped, and what looks like an escape may be meant as it is.
func match[T string | []byte](f form, k int, text T, at int) (end int) {
	for ; k < len(f.text) && at < len(text); k++ {
		c, size := character(text, at)
		switch raw := text[at]; {
		case f.same(k, c) && size > 1 && f.same(k, raw):
			if end := match(f, k+1, text, at+size); end > 0 {
				return end
			}
			at++
		case f.same(k, c):
			at += size
		case f.same(k, raw):
			at++
		default:
			return 0
		}
	}
	if k < len(f.text) {
		return 0
	}
	return at
}

// same reports whether a character is that of the form at a place.
func (f form) same(k int, c byte) bool {
	if f.fold && c >= 'A' && c <= 'F' {
		c += 'a' - 'A'
	}
	return c == f.text[k]
}

// character reads one character with the escapes around it: % and two hex digits, \u and four, or a backslash before
// the character itself; more backslashes, and 25 behind a percent sign, where a text was escaped again.
func character[T string | []byte](text T, at int) (byte, int) {
	i := at
	switch text[i] {
	case '%':
		i++
		for range maxEscapes {
			if i+1 < len(text) && text[i] == '2' && text[i+1] == '5' {
				i += 2
			}
		}
		if c, ok := hexByte(text, i); ok {
			return c, i + 2 - at
		}
		if i > at+1 {
			return '%', len("%25")
		}
	case '\\':
		for i < len(text) && text[i] == '\\' && i-at < maxBackslashes {
			i++
		}
		if i+4 < len(text) && text[i] == 'u' && text[i+1] == '0' && text[i+2] == '0' {
			if c, ok := hexByte(text, i+3); ok {
				return c, i + 5 - at
			}
		}
		if i < len(text) {
			return text[i], i + 1 - at
		}
	}
	return text[at], 1
}

func hexByte[T string | []byte](text T, at int) (c byte, ok bool) {
	if at+1 >= len(text) {
		return 0, false
	}
	high, ok1 := hexDigit(text[at])
	low, ok2 := hexDigit(text[at+1])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
