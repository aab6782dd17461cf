package webhook

import (
	"bytes"
	"encoding/json"
)

// maxDepth is how deep the objects and arrays of a body may be nested.
const maxDepth = 100

// plainObject reports whether body is one JSON object that no reader has to fear. The depth is counted before anything
// with a stack looks at it.
func plainObject(body []byte) bool {
	depth, inText := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) && json.Valid(body)
}
