package minimax

import (
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"reelay/internal/emulator"
)

// v1 is the API of the Hailuo, T2V, I2V and S2V models. Every answer is HTTP 200.
type v1 struct{ *Server }

type baseResp struct {
	StatusCode int    `json:"status_code"`
	StatusMsg  string `json:"status_msg"`
}

var fine = baseResp{0, "success"}

func (v1) name() string { return "v1" }

func (v1) refuse(w http.ResponseWriter, code int, message string) {
	writeJSON(w, http.StatusOK, struct {
		TaskID   string   `json:"task_id"`
		BaseResp baseResp `json:"base_resp"`
	}{"", baseResp{code, message}})
}

// page: V1 has no errors with an HTTP status, so they are a gateway's.
func (v1) page(w http.ResponseWriter, status int) { writeHTML(w, status) }

func (v1) accepted(w http.ResponseWriter, id string) error {
	return tryWriteJSON(w, http.StatusOK, struct {
		TaskID   string   `json:"task_id"`
		BaseResp baseResp `json:"base_resp"`
	}{id, fine})
}

// clip is one resolution and length that a model can make.
type clip struct {
	resolution string
	seconds    int
}

// v1Model is what a V1 model can make, by the video generation page, and at which price, by the price page.
type v1Model struct {
	priceUSD map[clip]float64
	// text: a prompt alone is enough. image: a first frame is possible. subject: a subject reference is needed.
	text, image, last, subject bool
	// byImage are clips for image-to-video only.
	byImage []clip
}

// older is the one clip of the 01 models. Their price is no longer listed; that of the nearest clip stands in.
var older = map[clip]float64{{"720P", 6}: 0.28}

var v1Models = map[string]v1Model{
	"MiniMax-Hailuo-2.3": {
		text: true, image: true,
		priceUSD: map[clip]float64{{"768P", 6}: 0.28, {"768P", 10}: 0.56, {"1080P", 6}: 0.49},
	},
	"MiniMax-Hailuo-2.3-Fast": {
		image:    true,
		priceUSD: map[clip]float64{{"768P", 6}: 0.19, {"768P", 10}: 0.32, {"1080P", 6}: 0.33},
	},
	"MiniMax-Hailuo-02": {
		text: true, image: true, last: true,
		priceUSD: map[clip]float64{
			{"768P", 6}: 0.28, {"768P", 10}: 0.56, {"1080P", 6}: 0.49, {"512P", 6}: 0.10, {"512P", 10}: 0.15,
		},
		byImage: []clip{{"512P", 6}, {"512P", 10}},
	},
	"T2V-01":          {text: true, priceUSD: older},
	"T2V-01-Director": {text: true, priceUSD: older},
	"I2V-01":          {image: true, priceUSD: older},
	"I2V-01-Director": {image: true, priceUSD: older},
	"I2V-01-live":     {image: true, priceUSD: older},
	"S2V-01":          {subject: true, priceUSD: older},
}

const maxPromptV1 = 2000 // characters

// clip is what the create asks for, defaults filled in.
func (m v1Model) clip(b create) clip {
	c := clip{b.Resolution, 6}
	if b.Duration != nil {
		c.seconds = *b.Duration
	}
	if c.resolution == "" {
		c.resolution = "768P"
		if _, ok := m.priceUSD[clip{"720P", 6}]; ok {
			c.resolution = "720P"
		}
	}
	return c
}

func (v1) validate(b create) string {
	m, ok := v1Models[b.Model]
	c := m.clip(b)
	_, made := m.priceUSD[c]
	switch {
	case !ok:
		return "model " + strconv.Quote(b.Model) + " does not exist"
	case utf8.RuneCountInString(b.Prompt) > maxPromptV1:
		return "prompt is too long"
	case m.subject && (b.Duration != nil || b.Resolution != ""):
		return "the model has no duration or resolution"
	case m.subject && len(b.SubjectReference) != 1:
		return "subject_reference must have one element"
	case !m.subject && len(b.SubjectReference) > 0:
		return "subject_reference is for S2V-01 only"
	case !m.image && b.FirstFrameImage != "":
		return "the model takes no first_frame_image"
	case !m.last && b.LastFrameImage != "":
		return "the model takes no last_frame_image"
	case !m.text && m.image && b.FirstFrameImage == "":
		return "first_frame_image is required"
	case m.text && b.Prompt == "" && b.FirstFrameImage == "" && b.LastFrameImage == "":
		return "prompt is required"
	case !made:
		return "the model does not make " + c.resolution + " of " + strconv.Itoa(c.seconds) + " seconds"
	case slices.Contains(m.byImage, c) && (b.FirstFrameImage == "" || b.LastFrameImage != ""):
		return c.resolution + " needs a first frame and no last frame"
	}
	return ""
}

func (v1) priceUSD(b create) float64 {
	m := v1Models[b.Model]
	return m.priceUSD[m.clip(b)]
}

var v1Words = map[phase]string{
	preparing: "Preparing", queueing: "Queueing", processing: "Processing", succeeded: "Success", failed: "Fail",
	expired: "Expired",
}

const unknownWord = "Unknown"

// v1Task is the answer to a query.
type v1Task struct {
	TaskID   string   `json:"task_id"`
	Status   string   `json:"status"`
	FileID   string   `json:"file_id"`
	Width    int      `json:"video_width"`
	Height   int      `json:"video_height"`
	BaseResp baseResp `json:"base_resp"`
}

// taskV1 is a job as its owner sees it.
func taskV1(j emulator.Job, l jobState) v1Task {
	t := v1Task{TaskID: j.ID, Status: v1Words[l.phase], BaseResp: fine}
	switch {
	case l.unknown:
		t.Status = unknownWord
	case l.phase == succeeded:
		t.FileID, t.Width, t.Height = fileOf(j.ID), 1366, 768
	case l.phase == failed:
		t.BaseResp = baseResp{l.code, l.message}
	}
	return t
}

func (s *Server) queryV1(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("status")
	id := r.URL.Query().Get("task_id")
	if id == "" {
		s.answerV1(w, 2013, "invalid params, task_id cannot by empty") // so MiniMax spells it
		return
	}
	j, ok := s.o.Ledger.Job(id)
	if !ok || j.Extra[emulator.ExtraAPI] != "v1" {
		s.answerV1(w, 2013, s.o.UnknownTask)
		return
	}
	l := s.stateOf(j, time.Now())
	name := s.pollFault(j)
	switch {
	case name == "not_found" || l.phase == gone:
		s.answerV1(w, 2013, s.o.UnknownTask)
		return
	case name == "unknown":
		l.unknown = true
	case name != "" && fault(w, r, v1{s}, name):
		return
	}
	t := taskV1(j, l)
	if emulator.ReadScript(j.Input).Result == noFile {
		t.FileID = ""
	}
	emulator.Oddly(w, r, name, func(w http.ResponseWriter) { writeJSON(w, http.StatusOK, t) })
}

// answerV1 is a query that failed: a verdict on the call and not on a task.
func (s *Server) answerV1(w http.ResponseWriter, code int, message string) {
	writeJSON(w, http.StatusOK, struct {
		BaseResp baseResp `json:"base_resp"`
	}{baseResp{code, message}})
}

// fileOf is the id of the file that a task makes.
func fileOf(task string) string { return shift(task, 1) }

// shift adds to a decimal id; "" if it is none.
func shift(id string, by int64) string {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(n+by, 10)
}

// v1File is a file, its id a number here though a string in the query.
type v1File struct {
	FileID      int64  `json:"file_id"`
	Bytes       int    `json:"bytes"` // 0, as MiniMax often has it
	CreatedAt   int64  `json:"created_at"`
	FileName    string `json:"filename"`
	Purpose     string `json:"purpose"`
	DownloadURL string `json:"download_url"`
}

func (s *Server) retrieveV1(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("result")
	file := r.URL.Query().Get("file_id")
	n, err := strconv.ParseInt(file, 10, 64)
	if err != nil {
		s.answerV1(w, 2013, "invalid params, file_id must be a number")
		return
	}
	j, ok := s.o.Ledger.Job(shift(file, -1))
	l := s.stateOf(j, time.Now())
	purposes := map[string]string{"v1": "video_generation", apiSpeech: "t2a_async"}
	purpose := purposes[j.Extra[emulator.ExtraAPI]]
	if !ok || purpose == "" || l.phase != succeeded {
		s.answerV1(w, 2013, "invalid params, file not found")
		return
	}
	if s.resultFault(j) {
		s.failResult(w, r, v1{s}, j, func() { writeJSON(w, http.StatusInternalServerError, struct{}{}) })
		return
	}
	name := "output.mp4"
	if purpose == purposes[apiSpeech] {
		name = "output.tar"
	}
	writeJSON(w, http.StatusOK, struct {
		File     v1File   `json:"file"`
		BaseResp baseResp `json:"base_resp"`
	}{v1File{
		FileID: n, CreatedAt: l.since.Unix(), FileName: name, Purpose: purpose,
		DownloadURL: s.mediaURL(base(r), j.ID),
	}, fine})
}
