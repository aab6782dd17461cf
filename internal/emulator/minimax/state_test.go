package minimax_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
	"reelay/internal/emulator/minimax"
)

func TestLifeV1(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(paced())
		id := createV1(t, s, goodV1)
		for _, row := range []struct {
			after time.Duration
			word  string
		}{{0, "Preparing"}, {2 * time.Second, "Queueing"}, {6 * time.Second, "Processing"}, {20 * time.Second, "Success"}} {
			time.Sleep(row.after) // the bubble's clock
			if a := queryV1(t, s, id); a.Word != row.word || a.code() != 0 || a.TaskID != id ||
				(a.FileID != "") != (a.Word == "Success") {
				t.Errorf("%v later: %s, want %s", row.after, a.Body, row.word)
			}
		}
		file := queryV1(t, s, id).FileID
		a := get(t, s, "/v1/files/retrieve?file_id="+file)
		if string(a.File.ID) != file || !strings.Contains(a.Body, `"bytes":0`) ||
			!strings.HasPrefix(a.File.URL, "http://example.com/media/") {
			t.Errorf("retrieve: %s", a.Body)
		}
		r := httptest.NewRequest(http.MethodGet, a.File.URL, nil)
		r.Header.Set("Range", "bytes=0-9")
		if part := do(t, s, r); part.Status != http.StatusPartialContent || len(part.Body) != 10 ||
			part.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("range: %d, %d bytes", part.Status, len(part.Body))
		}
		time.Sleep(time.Hour)
		if old := do(t, s, httptest.NewRequest(http.MethodGet, a.File.URL, nil)); old.Status != http.StatusForbidden {
			t.Errorf("the link after an hour: %d, want 403", old.Status)
		}
		forged := strings.Replace(a.File.URL, "Expires=", "Expires=9", 1)
		if a := do(t, s, httptest.NewRequest(http.MethodGet, forged, nil)); a.Status != http.StatusForbidden {
			t.Errorf("a forged link: %d, want 403", a.Status)
		}
		fresh := get(t, s, "/v1/files/retrieve?file_id="+file).File.URL
		if a := do(t, s, httptest.NewRequest(http.MethodGet, fresh, nil)); a.Status != http.StatusOK {
			t.Errorf("a fresh link: %d, want 200", a.Status)
		}
	})
}

func TestLifeV2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(paced())
		id := createV2(t, s, goodV2)
		for _, row := range []struct {
			after time.Duration
			word  string
		}{
			{0, "queued"},
			{8 * time.Second, "running"},
			{20 * time.Second, "succeeded"},
			{7*24*time.Hour - 28*time.Second, "succeeded"},
		} {
			time.Sleep(row.after) // the bubble's clock
			a := queryV2(t, s, id)
			if a.Task.Status != row.word || a.Task.ID != id || (a.Task.Content.URL != "") != (row.word == "succeeded") {
				t.Errorf("%v later: %s, want %s", row.after, a.Body, row.word)
			}
			if row.word == "succeeded" && a.Task.Usage["total_seconds"] != 5 {
				t.Errorf("usage %v, want 5 seconds", a.Task.Usage)
			}
		}
		time.Sleep(time.Nanosecond)
		if a := queryV2(t, s, id); a.Status != http.StatusBadRequest || a.Error.Message != "invalid task_id (2013)" ||
			a.Error.HTTPCode != "400" {
			t.Errorf("after seven days: %d %s", a.Status, a.Body)
		}
		if a := get(t, s, "/v2/query/video_generation"); a.Total != 0 {
			t.Errorf("list after seven days: %s", a.Body)
		}
	})
}

// TestRestart continues a job of each API from the ledger's file.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger")
		var s *minimax.Server
		restart := func() {
			if s != nil {
				if err := s.Ledger().Close(); err != nil {
					t.Fatal(err)
				}
			}
			l, err := emulator.OpenLedger(path)
			if err != nil {
				t.Fatal(err)
			}
			o := paced()
			o.Ledger, o.InFlight = l, 2
			s = minimax.New(o)
		}
		restart()
		first := createV1(t, s, with(`"callback_url":"https://h/1","emulate":{"polls":"1002","poll_faults":2}`, goodV1))
		second := createV2(t, s, goodV2)
		queryV1(t, s, first) // the first of two faults
		restart()
		if a := queryV1(t, s, first); a.code() != 1002 {
			t.Errorf("second poll: %s, want the second fault", a.Body)
		}
		if a := queryV1(t, s, first); a.Word != "Preparing" {
			t.Errorf("third poll: %s, want Preparing", a.Body)
		}
		third := createV2(t, s, goodV2)
		if third <= second {
			t.Errorf("id %s after %s: it could be one that was given out", third, second)
		}
		if a := call(t, s, "sk-api-test", http.MethodPost, "/v2/video_generation",
			goodV2); a.Status != http.StatusTooManyRequests {
			t.Errorf("third in flight of two: %d %s, want 429", a.Status, a.Body)
		}
		if a := call(t, s, "sk-api-test", http.MethodDelete, "/v2/video_generation/"+third, ""); a.Action != "cancelled" {
			t.Errorf("cancel: %s", a.Body)
		}
		time.Sleep(28 * time.Second) // the bubble's clock
		link := get(t, s, "/v1/files/retrieve?file_id="+queryV1(t, s, first).FileID).File.URL
		restart()
		if a := queryV2(t, s, second); a.Task.Status != "succeeded" {
			t.Errorf("after the restart: %s, want succeeded", a.Body)
		}
		if a := queryV2(t, s, third); a.Task.Status != "cancelled" {
			t.Errorf("after the restart: %s, want cancelled", a.Body)
		}
		if a := do(t, s, httptest.NewRequest(http.MethodGet, link, nil)); a.Status != http.StatusOK {
			t.Errorf("the link after a restart: %d", a.Status)
		}
		if jobs := s.Ledger().Jobs(); len(jobs) != 3 || jobs[0].Correlation != "https://h/1" || jobs[0].PriceUSD != 0.28 ||
			!jobs[0].Answered {
			t.Errorf("ledger: %+v", jobs)
		}
		if err := s.Ledger().Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(paced())
		remove := func(id string) answer {
			return call(t, s, "sk-api-test", http.MethodDelete, "/v2/video_generation/"+id, "")
		}
		id := createV2(t, s, goodV2)
		if a := remove(id); a.Status != 200 || a.Action != "cancelled" || a.Word != "cancelled" {
			t.Errorf("queued: %d %s", a.Status, a.Body)
		}
		if a := remove(id); a.Status != 400 || a.Type != "error" {
			t.Errorf("cancelled: %d %s, want 400", a.Status, a.Body)
		}
		id = createV2(t, s, goodV2)
		time.Sleep(10 * time.Second) // the bubble's clock
		if a := remove(id); a.Status != 400 || queryV2(t, s, id).Task.Status != "running" {
			t.Errorf("running: %d %s, want 400", a.Status, a.Body)
		}
		time.Sleep(20 * time.Second)
		if a := remove(id); a.Status != 200 || a.Action != "deleted" {
			t.Errorf("succeeded: %d %s", a.Status, a.Body)
		}
		if a := queryV2(t, s, id); a.Status != 400 {
			t.Errorf("deleted: %d %s, want 400", a.Status, a.Body)
		}
		if a := remove("1"); a.Status != 400 || !strings.HasPrefix(a.Error.Message, "invalid task_id") {
			t.Errorf("unknown: %d %s", a.Status, a.Body)
		}
		if n := len(s.Ledger().Jobs()); n != 2 {
			t.Errorf("the ledger has %d jobs, want both", n)
		}
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	s := minimax.New(minimax.Options{Speed: emulator.Speed{Queue: time.Hour}})
	var ids []string
	for range 12 {
		ids = append(ids, createV2(t, s, goodV2))
	}
	other := createV2(t, s, strings.Replace(goodV2, "MiniMax-H3", "MiniMax-H3-Max", 1))
	createV1(t, s, goodV1)
	for _, row := range []struct {
		query        string
		items, total int
		first        string
	}{
		{"", 10, 13, other},
		{"?page_num=2", 3, 13, ids[2]},
		{"?page_num=3", 0, 13, ""},
		{"?page_size=100&filter.model=MiniMax-H3", 12, 12, ids[11]},
		{"?filter.status=running", 0, 0, ""},
		{"?filter.task_ids=" + ids[3] + "," + other, 2, 2, other},
		{"?filter.task_type=generation&page_size=1", 1, 13, other},
	} {
		a := get(t, s, "/v2/query/video_generation"+row.query)
		if a.Status != 200 || len(a.Items) != row.items || a.Total != row.total ||
			row.items > 0 && a.Items[0].ID != row.first {
			t.Errorf("%s: %d %s, want %d of %d from %s", row.query, a.Status, a.Body, row.items, row.total, row.first)
		}
	}
	for _, query := range []string{"?page_num=0", "?page_size=101", "?page_num=x", "?page_num=99999999999"} {
		if a := get(t, s, "/v2/query/video_generation"+query); a.Status != 400 {
			t.Errorf("%s: %d, want 400", query, a.Status)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for _, big := range []bool{false, true} {
		s := minimax.New(minimax.Options{BigIDs: big, InFlight: -1})
		seen := map[string]bool{}
		for range 200 {
			id := createV1(t, s, goodV1)
			file := queryV1(t, s, id).FileID
			n, err := strconv.ParseInt(id, 10, 64)
			if err != nil || len(id) < 15 || len(id) > 18 || seen[id] || seen[file] {
				t.Fatalf("id %s, file %s: %v, or not new", id, file, err)
			}
			if exact := int64(float64(n)) == n; exact == big {
				t.Fatalf("big %v: id %s fits a float64: %v", big, id, exact)
			}
			seen[id], seen[file] = true, true
			if a := get(t, s, "/v1/files/retrieve?file_id="+file); string(a.File.ID) != file {
				t.Fatalf("file %s: %s", file, a.Body)
			}
		}
	}
}
