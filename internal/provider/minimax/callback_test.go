package minimax_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

// Only the id of a callback counts: a forged success must not be more than a knock at the door.
func TestReadCallback(t *testing.T) {
	t.Parallel()
	d, err := newDriver("http://127.0.0.1:9", secret.New("k-1"))
	if err != nil {
		t.Fatal(err)
	}
	const v1, v2 = "MiniMax-Hailuo-2.3", "MiniMax-H3"
	for _, row := range []struct {
		model, body, id string
		ended           bool
		fault           string
	}{
		{
			v1, `{"task_id":"115334141465231360","status":"success","file_id":"2","base_resp":{"status_code":0}}`,
			"115334141465231360", true, "",
		},
		{v1, `{"task_id":115334141465231360,"status":"Success"}`, "115334141465231360", true, ""},
		{v1, `{"task_id":"1","status":"failed"}`, "1", true, ""},
		{v1, `{"task_id":"1","status":"processing"}`, "1", false, ""},
		{v1, `{"task_id":"1","status":{}}`, "1", false, ""},
		{v1, `{"task_id":"1"}`, "1", false, ""},
		{
			v2, `{"task":{"id":"424010985738629","status":"succeeded","content":{"url":"https://x"}}}`, "424010985738629", true,
			"",
		},
		{v2, `{"task":{"id":"4","status":"running"}}`, "4", false, ""},
		{v2, `{"task_id":"4","status":"cancelled"}`, "4", true, ""},
		{v2, `{"task_id":"4","task":{"id":"4","status":"queued"}}`, "4", false, ""},
		{v2, `{"task_id":"4","task":{"id":"5"}}`, "", false, "two tasks"},
		{v1, `{"challenge":"c9"}`, "", false, "names no task"},
		{v1, `{"task_id":"0"}`, "", false, "names no task"},
		{v1, `{"task_id":"../1"}`, "", false, "names no task"},
		{v1, `{"task_id":1.5}`, "", false, "no JSON object"},
		{v1, `{"task_id":"1"`, "", false, "no JSON object"},
		{v1, ``, "", false, "no JSON object"},
		{"sora", `{"task_id":"1"}`, "", false, "no MiniMax family"},
	} {
		cb, err := d.ReadCallback(row.model, []byte(row.body))
		if row.fault != "" {
			if err == nil || !strings.Contains(err.Error(), row.fault) {
				t.Errorf("%s: %v, want %q", row.body, err, row.fault)
			}
			continue
		}
		ref, _ := d.Ref(row.model, row.id)
		if err != nil || cb.ID != row.id || !bytes.Equal(cb.Ref, ref) || cb.Ended != row.ended || cb.Snapshot != nil {
			t.Errorf("%s: %+v, %v", row.body, cb, err)
		}
	}
}

func FuzzReadCallback(f *testing.F) {
	d, err := newDriver("http://127.0.0.1:9", secret.New("k-1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"task_id":"1","status":"success"}`))
	f.Add([]byte(`{"task":{"id":"4","status":"running"}}`))
	f.Add([]byte(`{"task_id":1e3}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, model := range []string{"MiniMax-Hailuo-2.3", "MiniMax-H3"} {
			cb, err := d.ReadCallback(model, body)
			switch {
			case err != nil:
				if e := provider.AsError(err); e.Code == "" || len(e.Message) > events.MaxMessageBytes {
					t.Errorf("%+v", e)
				}
			case cb.Snapshot != nil || cb.ID == "" || len(cb.ID) > 64 || !json.Valid(cb.Ref):
				t.Errorf("%+v", cb)
			}
		}
	})
}
