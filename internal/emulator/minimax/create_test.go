package minimax_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
	"reelay/internal/emulator/minimax"
)

func TestValidation(t *testing.T) {
	t.Parallel()
	v2 := func(more string) string { return `{"model":"MiniMax-H3","resolution":"768P","duration":5` + more + `}` }
	const text = `{"type":"text","text":"a"}`
	for _, row := range []struct {
		body  string
		wrong string  // part of the message; "" is accepted
		price float64 // of what is accepted
	}{
		{goodV1, "", 0.28},
		{`{"model":"MiniMax-Hailuo-2.3","prompt":"a","duration":10}`, "", 0.56},
		{`{"model":"MiniMax-Hailuo-2.3","prompt":"a","resolution":"1080P"}`, "", 0.49},
		{`{"model":"MiniMax-Hailuo-2.3-Fast","first_frame_image":"https://x"}`, "", 0.19},
		{`{"model":"MiniMax-Hailuo-02","first_frame_image":"https://x","resolution":"512P","duration":10}`, "", 0.15},
		{`{"model":"MiniMax-Hailuo-02","last_frame_image":"https://x"}`, "", 0.28},
		{`{"model":"T2V-01-Director","prompt":"a"}`, "", 0.28},
		{`{"model":"S2V-01","prompt":"a","subject_reference":[{"type":"character","image":["https://x"]}]}`, "", 0.28},
		{`{"model":"MiniMax-Hailuo-9","prompt":"a"}`, "does not exist", 0},
		{`{"model":"MiniMax-H3","prompt":"a"}`, "does not exist", 0},
		{`{"model":"MiniMax-Hailuo-2.3"}`, "prompt is required", 0},
		{`{"model":"MiniMax-Hailuo-2.3","prompt":"` + strings.Repeat("é", 2001) + `"}`, "too long", 0},
		{`{"model":"MiniMax-Hailuo-2.3","prompt":"a","resolution":"1080P","duration":10}`, "does not make", 0},
		{`{"model":"MiniMax-Hailuo-2.3","prompt":"a","duration":"6"}`, "wrong type", 0},
		{`{"model":"MiniMax-Hailuo-2.3","last_frame_image":"https://x"}`, "no last_frame_image", 0},
		{`{"model":"MiniMax-Hailuo-2.3-Fast","prompt":"a"}`, "first_frame_image is required", 0},
		{`{"model":"MiniMax-Hailuo-02","prompt":"a","resolution":"512P"}`, "needs a first frame", 0},
		{`{"model":"T2V-01","prompt":"a","first_frame_image":"https://x"}`, "no first_frame_image", 0},
		{`{"model":"T2V-01","prompt":"a","resolution":"1080P"}`, "does not make", 0},
		{`{"model":"S2V-01","prompt":"a"}`, "subject_reference", 0},
		{`{"model":"S2V-01","prompt":"a","duration":6}`, "no duration", 0},
		{`{"model":"T2V-01","prompt":"a","subject_reference":[{}]}`, "S2V-01 only", 0},
		{`not json`, "not JSON", 0},
		{``, "not JSON", 0},
		{`{"prompt":"` + strings.Repeat("a", minimax.MaxBodyBytes) + `"}`, "too large", 0},

		{v2(`,"content":[` + text + `],"ratio":"16:9"`), "", 0.40},
		{v2(`,"content":[` + text + `,{"type":"image_url","image_url":{"url":"https://x"}}],"ratio":"adaptive"`), "", 0.40},
		{
			v2(`,"content":[` + text +
				strings.Repeat(`,{"type":"image_url","role":"reference_image","image_url":{"url":"https://x"}}`, 7) + `]`), "",
			0.48,
		},
		{strings.NewReplacer("H3", "H3-Max", "768P", "480P").Replace(goodV2), "", 0.25},
		{`{"model":"MiniMax-H4","content":[` + text + `]}`, "does not exist", 0},
		{v2(``), "text item", 0},
		{v2(`,"content":[{"type":"text","text":" "}]`), "content[0].text is empty", 0},
		{v2(`,"content":[{"type":"text","text":"` + strings.Repeat("é", 7001) + `"}],"ratio":"1:1"`), "too long", 0},
		{v2(`,"content":[` + text + `]`), "concrete ratio", 0},
		{v2(`,"content":[` + text + `],"ratio":"adaptive"`), "concrete ratio", 0},
		{v2(`,"content":[` + text + `],"ratio":"2:1"`), "ratio is not known", 0},
		{v2(`,"content":[` + text + `,{"type":"smell"}]`), "content[1].type", 0},
		{v2(`,"content":[` + text + `,{"type":"image_url"}]`), "has no url", 0},
		{
			v2(`,"content":[` + text + `,{"type":"video_url","role":"first_frame","video_url":{"url":"https://x"}}]`),
			"role does not fit", 0,
		},
		{
			v2(`,"content":[` + text + `,{"type":"audio_url","role":"reference_audio","audio_url":{"url":"https://x"}}]`),
			"cannot stand alone", 0,
		},
		{
			v2(`,"content":[` + text + strings.Repeat(`,{"type":"image_url","image_url":{"url":"https://x"}}`, 3) + `]`),
			"more than two frames", 0,
		},
		{
			v2(`,"content":[` + text +
				strings.Repeat(`,{"type":"image_url","role":"reference_image","image_url":{"url":"https://x"}}`, 10) + `]`),
			"too many", 0,
		},
		{v2(`,"content":[` + text +
			`,{"type":"image_url","image_url":{"url":"https://x"}},{"type":"image_url","role":"reference_image",` +
			`"image_url":{"url":"https://x"}}]`), "exclude", 0},
		{strings.Replace(goodV2, "768P", "4K", 1), "resolution", 0},
		{strings.Replace(goodV2, `"duration":5`, `"duration":3`, 1), "duration must be 4 to 15", 0},
		{strings.Replace(goodV2, `"duration":5,`, ``, 1), "duration must be", 0},
	} {
		path := "/v1/video_generation"
		if strings.Contains(row.body, `"content"`) || strings.Contains(row.body, `"model":"MiniMax-H3","res`) {
			path = "/v2/video_generation"
		}
		s := minimax.New(minimax.Options{})
		a := call(t, s, "sk-api-test", http.MethodPost, path, row.body)
		jobs := s.Ledger().Jobs()
		if row.wrong == "" {
			if a.TaskID == "" || len(jobs) != 1 || math.Abs(jobs[0].PriceUSD-row.price) > 1e-9 {
				t.Errorf("%.200s: %d %s, %+v, want accepted for %v", row.body, a.Status, a.Body, jobs, row.price)
			}
			continue
		}
		refused := a.Status == 200 && a.code() == 2013 && strings.Contains(a.BaseResp.Msg, row.wrong)
		if path[:3] == "/v2" {
			refused = a.Status == 400 && strings.Contains(a.Error.Message, row.wrong) &&
				strings.HasSuffix(a.Error.Message, "(2013)")
		}
		if !refused || a.TaskID != "" || len(jobs) != 0 {
			t.Errorf("%.200s: %d %s, want 2013 with %q", row.body, a.Status, a.Body, row.wrong)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := minimax.New(minimax.Options{})
	for _, row := range []struct {
		header   string
		code     int
		status   int
		message  string
		onlyPaid bool
	}{
		{"", 1004, 401, "login fail: Please carry the API secret key", false},
		{"Bearer ", 1004, 401, "login fail: Please carry the API secret key", false},
		{"Key x", 1004, 401, "login fail: Please carry the API secret key", false},
		{"Bearer sk-api-region", 2049, 401, "invalid api key", false},
		{"Bearer sk-api-poor", 1008, 402, "insufficient balance", true},
	} {
		for _, c := range []struct{ method, path, body string }{
			{"POST", "/v1/video_generation", goodV1},
			{"GET", "/v1/query/video_generation?task_id=1", ""},
			{"GET", "/v1/files/retrieve?file_id=1", ""},
			{"POST", "/v2/video_generation", goodV2},
			{"GET", "/v2/query/video_generation/1", ""},
			{"GET", "/v2/query/video_generation", ""},
			{"DELETE", "/v2/video_generation/1", ""},
		} {
			if row.onlyPaid && c.method != "POST" {
				continue
			}
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("Authorization", row.header)
			a := do(t, s, r)
			if strings.HasPrefix(c.path, "/v1") &&
				(a.Status != 200 || a.code() != row.code || !strings.HasPrefix(a.BaseResp.Msg, row.message)) {
				t.Errorf("%q, %s %s: %d %s, want 200 and %d", row.header, c.method, c.path, a.Status, a.Body, row.code)
			}
			if strings.HasPrefix(c.path, "/v2") &&
				(a.Status != row.status || !strings.HasPrefix(a.Error.Message, row.message) || a.RequestID == "") {
				t.Errorf("%q, %s %s: %d %s, want %d", row.header, c.method, c.path, a.Status, a.Body, row.status)
			}
		}
	}
	if n := len(s.Ledger().Jobs()); n != 0 {
		t.Errorf("%d jobs were taken", n)
	}
}

func TestRPM(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(minimax.Options{RPM: 2})
		createV1(t, s, goodV1)
		time.Sleep(30 * time.Second) // the bubble's clock
		createV1(t, s, goodV1)
		if a := call(t, s, "k", http.MethodPost, "/v1/video_generation", goodV1); a.code() != 1002 || a.Status != 200 {
			t.Errorf("third in a minute: %d %s, want 1002", a.Status, a.Body)
		}
		createV2(t, s, goodV2) // a limit of its own
		createV2(t, s, goodV2)
		if a := call(t, s, "k", http.MethodPost, "/v2/video_generation", goodV2); a.Status != 429 {
			t.Errorf("V2: %d %s, want 429", a.Status, a.Body)
		}
		time.Sleep(30 * time.Second)
		createV1(t, s, goodV1)
		if a := call(t, s, "k", http.MethodPost, "/v1/video_generation", goodV1); a.code() != 1002 {
			t.Errorf("third in a minute: %s, want 1002", a.Body)
		}
	})
}

// TestInFlight fills the account from many sides at once.
func TestInFlight(t *testing.T) {
	t.Parallel()
	s := minimax.New(minimax.Options{Speed: emulator.Speed{Queue: time.Hour}})
	var wg sync.WaitGroup
	for range 3 * minimax.DefaultInFlight {
		wg.Go(func() {
			if a := call(t, s, "k", http.MethodPost, "/v2/video_generation", goodV2); a.Status != 200 && a.Status != 429 {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	wg.Wait()
	jobs := s.Ledger().Jobs()
	if len(jobs) != minimax.DefaultInFlight {
		t.Errorf("%d jobs, want %d", len(jobs), minimax.DefaultInFlight)
	}
	createV1(t, s, goodV1) // V1 has no such limit
	call(t, s, "k", http.MethodDelete, "/v2/video_generation/"+jobs[0].ID, "")
	createV2(t, s, goodV2)
}

func TestMaxJobs(t *testing.T) {
	t.Parallel()
	s := minimax.New(minimax.Options{MaxJobs: 1})
	createV1(t, s, goodV1)
	if a := call(t, s, "k", http.MethodPost, "/v1/video_generation", goodV1); a.code() != 1041 {
		t.Errorf("%s, want 1041", a.Body)
	}
}

// TestScripts has what each script does to the create: whether it was paid, and what is answered.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		script         string
		paid, answered bool
		v1, v2         int // HTTP status; -1 is a broken connection
		code           int // of the V1 answer, -1 for none
	}{
		{"", true, true, 200, 200, 0},
		{"reset_before", false, false, -1, -1, -1},
		{"refuse_1002", false, false, 200, 429, 1002},
		{"refuse_429", false, false, 429, 429, -1},
		{"refuse_402", false, false, 402, 402, -1},
		{"refuse_529", false, false, 529, 529, -1},
		{"accept_then_reset", true, false, -1, -1, -1},
		{"accept_then_500", true, false, 500, 500, -1},
		{"accept_then_502_html", true, false, 502, 502, -1},
		{"accept_then_empty", true, false, 200, 200, -1},
		{"accept_then_no_base_resp", true, false, 200, 200, -1},
		{"accept_then_1000", true, false, 200, 500, 1000},
		{"accept_then_1001", true, false, 200, 500, 1001},
		{"accept_then_nonsense", true, false, -1, -1, -1},
	} {
		for path, body := range map[string]string{"/v1/video_generation": goodV1, "/v2/video_generation": goodV2} {
			s := minimax.New(minimax.Options{})
			server := httptest.NewServer(s)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path,
				strings.NewReader(with(`"emulate":{"submit":"`+row.script+`"}`, body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer k")
			want := row.v1
			if path[:3] == "/v2" {
				want = row.v2
			}
			got := -1
			if res, err := http.DefaultClient.Do(req); err == nil {
				got = res.StatusCode
				_ = res.Body.Close()
			}
			server.Close()
			jobs := s.Ledger().Jobs()
			if got != want || (len(jobs) == 1) != row.paid || row.paid && jobs[0].Answered != row.answered {
				t.Errorf("%s %s: %d, %+v, want %d, paid %v, answered %v", path, row.script, got, jobs, want, row.paid, row.answered)
			}
		}
		if row.v1 > 0 {
			s := minimax.New(minimax.Options{})
			a := call(t, s, "k", http.MethodPost, "/v1/video_generation", with(`"emulate":{"submit":"`+row.script+`"}`, goodV1))
			if a.code() != row.code {
				t.Errorf("%s: %s, want code %d", row.script, a.Body, row.code)
			}
		}
	}
}

// TestHang keeps a paid request until its client gives up.
func TestHang(t *testing.T) {
	t.Parallel()
	s := minimax.New(minimax.Options{})
	server := httptest.NewServer(s)
	defer server.Close()
	client := &http.Client{Timeout: 50 * time.Millisecond}
	res, err := client.Do(mustRequest(t, server.URL+"/v1/video_generation",
		with(`"emulate":{"submit":"accept_then_hang"}`, goodV1)))
	if err == nil {
		_ = res.Body.Close()
		t.Errorf("answered with %d", res.StatusCode)
	}
	if jobs := s.Ledger().Jobs(); len(jobs) != 1 || jobs[0].Answered {
		t.Errorf("ledger: %+v, want one job that was not answered", jobs)
	}
}

func mustRequest(t testing.TB, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer k")
	return r
}

func TestPrompts(t *testing.T) {
	t.Parallel()
	refused := minimax.New(minimax.Options{})
	if a := call(t, refused, "k", http.MethodPost, "/v1/video_generation",
		strings.Replace(goodV1, "kite", "#1026", 1)); a.code() != 1026 {
		t.Errorf("#1026: %s", a.Body)
	}
	if a := call(t, refused, "k", http.MethodPost, "/v2/video_generation",
		strings.Replace(goodV2, "boy", "#1026", 1)); a.Status != 422 {
		t.Errorf("#1026: %d %s", a.Status, a.Body)
	}
	if n := len(refused.Ledger().Jobs()); n != 0 {
		t.Errorf("%d jobs were taken", n)
	}
	for _, row := range []struct {
		word   string
		speed  emulator.Speed
		v1, v2 string
		code   int
	}{
		{"#1027", emulator.Speed{}, "Fail", "failed", 1027},
		{"#stall", emulator.Speed{}, "Processing", "running", 0},
		{"#unknown", emulator.Speed{Run: time.Hour}, "Unknown", "Unknown", 0},
		{"#unknown", emulator.Speed{}, "Success", "succeeded", 0},
	} {
		s := minimax.New(minimax.Options{Speed: row.speed})
		if a := queryV1(t, s, createV1(t, s, strings.Replace(goodV1, "kite", row.word, 1))); a.Word != row.v1 ||
			a.code() != row.code {
			t.Errorf("%s: %s, want %s", row.word, a.Body, row.v1)
		}
		if a := queryV2(t, s, createV2(t, s, strings.Replace(goodV2, "boy", row.word, 1))); a.Task.Status != row.v2 {
			t.Errorf("%s: %s, want %s", row.word, a.Body, row.v2)
		}
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	s := minimax.New(minimax.Options{UnknownTask: "no such task"})
	first, second := createV1(t, s, goodV1), createV2(t, s, goodV2)
	for _, id := range []string{"1", "x", second} {
		if a := queryV1(t, s, id); a.Status != 200 || a.code() != 2013 || a.BaseResp.Msg != "no such task" || a.Word != "" {
			t.Errorf("V1 task %s: %s", id, a.Body)
		}
	}
	if a := queryV1(t, s, ""); a.code() != 2013 || !strings.Contains(a.BaseResp.Msg, "empty") {
		t.Errorf("no task id: %s", a.Body)
	}
	if a := queryV2(t, s, first); a.Status != 400 {
		t.Errorf("V1 task in V2: %d %s", a.Status, a.Body)
	}
	for _, file := range []string{"1", "x", "", first, second} {
		if a := get(t, s, "/v1/files/retrieve?file_id="+file); a.Status != 200 || a.code() != 2013 {
			t.Errorf("file %q: %d %s, want 2013", file, a.Status, a.Body)
		}
	}
	if a := get(t, s, "/v3/anything"); a.Status != http.StatusNotFound {
		t.Errorf("unknown path: %d", a.Status)
	}
	if a := get(t, s, "/_emulator/ledger"); a.Status != 200 || !strings.Contains(a.Body, `"jobs":[`) ||
		!strings.Contains(a.Body, first) {
		t.Errorf("ledger: %d %s", a.Status, a.Body)
	}
}
