package minimax_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"reelay/internal/emulator/minimax"
)

// asked calls an API and returns its answer.
func asked(t *testing.T, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk-api-test")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || !json.Valid(answer) {
		t.Fatalf("%s: %q, %v", url, answer, err)
	}
	return string(answer)
}

// TestVoices: a voice can be made once, is listed and charged once a speech has used it, and is gone when it is deleted.
func TestVoices(t *testing.T) {
	t.Parallel()
	s := minimax.New(minimax.Options{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for i, step := range []struct {
		path, body, want string
		usd              float64
	}{
		{"voice_clone", `{"file_id":"17","voice_id":"narrator-1"}`, `"status_code":2013`, 0},
		{"voice_clone", `{"file_id":17,"voice_id":"1narrator"}`, `"status_code":2013`, 0},
		{"voice_clone", `{"file_id":17,"voice_id":"narrator-1","emulate":{"submit":"refuse_2038"}}`, `"status_code":2038`, 0},
		{"voice_clone", `{"file_id":17,"voice_id":"narrator-1"}`, `"status_code":0`, 0},
		{"voice_clone", `{"file_id":17,"voice_id":"narrator-1"}`, `"status_code":2039`, 0},
		{"get_voice", `{"voice_type":"voice_cloning"}`, `"voice_cloning":[]`, 0},
		{
			"t2a_v2", `{"model":"speech-2.8-hd","text":"good evening","voice_setting":{"voice_id":"narrator-1"}}`,
			`"usage_characters":12`, 1.5012,
		},
		{"get_voice", `{"voice_type":"all"}`, `"voice_id":"narrator-1"`, 1.5012},
		{"delete_voice", `{"voice_type":"voice_cloning","voice_id":"narrator-2"}`, `"status_code":2042`, 1.5012},
		{"delete_voice", `{"voice_type":"voice_cloning","voice_id":"narrator-1"}`, `"status_code":0`, 1.5012},
		{"get_voice", `{"voice_type":"all"}`, `"voice_cloning":[]`, 1.5012},
		{"music_generation", `{"model":"music-2.6"}`, `"status_code":2013`, 1.5012},
		{"image_generation", `{"model":"image-01","prompt":"a kite","n":2,"emulate":{"fail":"1027"}}`, `"status_code":1027`, 1.5012},
		{"image_generation", `{"model":"image-01","prompt":"a kite","n":2}`, `"success_count":"2"`, 1.5082},
	} {
		got := asked(t, server.URL+"/v1/"+step.path, step.body)
		if !strings.Contains(got, step.want) {
			t.Errorf("step %d, %s %s: %.300s; want %s", i, step.path, step.body, got, step.want)
		}
		if usd := s.Ledger().BilledUSD(); usd != step.usd {
			t.Errorf("step %d, %s: %v dollars are billed, want %v", i, step.path, usd, step.usd)
		}
	}
}

// TestLinksToSounds: a link leads to a file of the kind that was asked for.
func TestLinksToSounds(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(minimax.New(minimax.Options{}))
	t.Cleanup(server.Close)
	for format, magic := range map[string]string{"mp3": "\xff\xfb\x58\xc0", "wav": "RIFF"} {
		var a struct {
			Data struct{ Audio string }
		}
		answer := asked(t, server.URL+"/v1/music_generation",
			`{"model":"music-2.6","prompt":"a waltz","output_format":"url","audio_setting":{"format":"`+format+`"}}`)
		if err := json.Unmarshal([]byte(answer), &a); err != nil {
			t.Fatal(err)
		}
		res, err := http.Get(a.Data.Audio)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || !bytes.HasPrefix(content, []byte(magic)) || !strings.Contains(a.Data.Audio, "."+format) {
			t.Errorf("%s: %x, %v", a.Data.Audio, content[:min(len(content), 8)], err)
		}
	}
}
