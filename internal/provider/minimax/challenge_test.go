package minimax

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"reelay/internal/provider"
)

func TestHandshake(t *testing.T) {
	for _, row := range []struct {
		name, body, want string
		err              error
	}{
		{"text", `{"challenge":"c9b1f0"}`, `{"challenge":"c9b1f0"}`, nil},
		{"text with spaces around", " { \"challenge\" : \"c9b1f0\" }\n", `{"challenge":"c9b1f0"}`, nil},
		{"empty text", `{"challenge":""}`, `{"challenge":""}`, nil},
		{"base64", `{"challenge":"a+/b=="}`, `{"challenge":"a+/b=="}`, nil},
		{"escapes", `{"challenge":"\u0061\"\\"}`, `{"challenge":"a\"\\"}`, nil},
		{"markup", `{"challenge":"<script>"}`, `{"challenge":"\u003cscript\u003e"}`, nil},
		{"number", `{"challenge":12345}`, `{"challenge":12345}`, nil},
		{
			"number beyond float64", `{"challenge":123456789012345678901234567890}`,
			`{"challenge":123456789012345678901234567890}`, nil,
		},
		{"number with a point", `{"challenge":-1.50e3}`, `{"challenge":-1.50e3}`, nil},
		{"beside other fields", `{"type":"verify","challenge":"x"}`, `{"challenge":"x"}`, nil},
		{
			"254 characters", `{"challenge":"` + strings.Repeat("a", 254) + `"}`,
			`{"challenge":"` + strings.Repeat("a", 254) + `"}`, nil,
		},
		{"255 characters", `{"challenge":"` + strings.Repeat("a", 255) + `"}`, "", provider.ErrCallbackChallenge},
		{"long number", `{"challenge":` + strings.Repeat("1", 257) + `}`, "", provider.ErrCallbackChallenge},
		{"line end", `{"challenge":"a\r\nSet-Cookie: x"}`, "", provider.ErrCallbackChallenge},
		{"beyond ASCII", `{"challenge":"ü"}`, "", provider.ErrCallbackChallenge},
		{"null", `{"challenge":null}`, "", provider.ErrCallbackChallenge},
		{"boolean", `{"challenge":true}`, "", provider.ErrCallbackChallenge},
		{"object", `{"challenge":{"a":1}}`, "", provider.ErrCallbackChallenge},
		{"array", `{"challenge":["a"]}`, "", provider.ErrCallbackChallenge},
		{"other case", `{"Challenge":"a"}`, "", nil},
		{"further down", `{"task":{"challenge":"a"}}`, "", nil},
		{"update of V1", `{"task_id":"1","status":"success","file_id":"2","base_resp":{"status_code":0}}`, "", nil},
		{"update of V2", `{"task":{"id":"4","status":"succeeded"}}`, "", nil},
		{"array around", `[{"challenge":"a"}]`, "", nil},
		{"no JSON", `challenge=a`, "", nil},
		{"nothing", ``, "", nil},
		{"very long body", `{"challenge":"a","x":"` + strings.Repeat("a", 4<<10) + `"}`, "", nil},
	} {
		got, err := Handshake([]byte(row.body))
		if string(got) != row.want || !errors.Is(err, row.err) || (row.err == nil) != (err == nil) {
			t.Errorf("%s: %s, %v, want %s, %v", row.name, got, err, row.want, row.err)
		}
	}
}

// Whatever is answered is a short object with the one value that was asked for, in printable ASCII.
func FuzzHandshake(f *testing.F) {
	for _, body := range []string{
		`{"challenge":"c9b1f0"}`, `{"challenge":1}`, `{"challenge":"\u2028<"}`,
		`{"challenge":{}}`, `{"task_id":"1"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := Handshake(body)
		if answer == nil {
			return
		}
		if err != nil || bytes.ContainsFunc(answer, func(r rune) bool { return r < ' ' || r > '~' }) ||
			len(answer) > 6*maxChallengeBytes {
			t.Fatalf("%q, %v", answer, err)
		}
		var asked, answered map[string]any
		if json.Unmarshal(body, &asked) != nil {
			decoder := json.NewDecoder(bytes.NewReader(body)) // a number beyond float64
			decoder.UseNumber()
			if err := decoder.Decode(&asked); err != nil {
				t.Fatalf("answered %q to %q", answer, body)
			}
		}
		decoder := json.NewDecoder(bytes.NewReader(answer))
		decoder.UseNumber()
		if err := decoder.Decode(&answered); err != nil || len(answered) != 1 {
			t.Fatalf("%q: %v", answer, err)
		}
		if text, ok := asked["challenge"].(string); ok && answered["challenge"] != text {
			t.Fatalf("asked %q, answered %q", text, answered["challenge"])
		}
	})
}
