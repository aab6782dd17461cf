package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPlainObject(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for body, want := range map[string]bool{
		`{}`:                                  true,
		" \r\n\t{ } \n":                       true,
		`{"a":null,"b":[1,2.5e3,"x"],"c":{}}`: true,
		deep(100):                             true,
		deep(101):                             false,
		`{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`:   true,
		`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`: false,
		`{"a":"` + strings.Repeat("[", 1000) + `"}`:                         true,
		`{"a":"\"` + strings.Repeat("[", 1000) + `"}`:                       true,
		`{"a":"\\"` + strings.Repeat("[", 1000) + `}`:                       false,
		strings.Repeat(`}`, 1000) + strings.Repeat(`{`, 1000):               false,
		`{"a":1`:        false,
		`{"a":1}}`:      false,
		`{"a":1},`:      false,
		`{'a':1}`:       false,
		`[]`:            false,
		`"a"`:           false,
		`null`:          false,
		``:              false,
		"\ufeff{}":      false,
		`{"a":"` + "\n": false,
	} {
		if got := plainObject([]byte(body)); got != want {
			t.Errorf("%.60q: %v, want %v", body, got, want)
		}
	}
}

// FuzzPlainObject compares with the standard library's reader.
func FuzzPlainObject(f *testing.F) {
	for _, body := range []string{
		`{"a":"\"}`, `{"a":[{"b":[]}]}`, `{}x`, `[[[[`, `{"a":"\\"}`,
		strings.Repeat(`{"a":[`, 60),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, want := plainObject(body), readable(body); got != want {
			t.Errorf("%q: %v, want %v", body, got, want)
		}
	})
}

// readable reads a body token by token.
func readable(body []byte) bool {
	if !json.Valid(body) {
		return false
	}
	depth, deepest, first := 0, 0, json.Token(nil)
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		d.UseNumber()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return first == json.Delim('{') && deepest <= maxDepth
		}
		if err != nil {
			return false
		}
		if first == nil {
			first = token
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}
