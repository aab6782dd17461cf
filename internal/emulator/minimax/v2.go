package minimax

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"reelay/internal/emulator"
)

// v2 is the API of the H3 models: HTTP statuses and an error object.
type v2 struct{ *Server }

func (v2) name() string { return "v2" }

type v2ErrorBody struct {
	Type  string `json:"type"`
	Error struct {
		Type     string `json:"type"`
		Message  string `json:"message"`
		HTTPCode string `json:"http_code"`
	} `json:"error"`
	RequestID string `json:"request_id"`
}

// v2Error is the error envelope: the code is only in the message's last parenthesis.
func v2Error(status, code int, message string) v2ErrorBody {
	types := map[int]string{
		400: "bad_request_error", 401: "authorized_error", 402: "insufficient_balance_error",
		403: "permission_error", 422: "unprocessable_entity_error", 429: "rate_limit_error", 500: "server_error",
		statusOverloaded: "overloaded_error",
	}
	e := v2ErrorBody{Type: "error", RequestID: "02" + traceID()}
	e.Error.Type, e.Error.HTTPCode = types[status], strconv.Itoa(status)
	e.Error.Message = message
	if code != 0 {
		e.Error.Message += fmt.Sprintf(" (%d)", code)
	}
	return e
}

// statusOverloaded is MiniMax's own HTTP status for a model that has no room.
const statusOverloaded = 529

// v2Status is the HTTP status that a code comes with.
func v2Status(code int) int {
	switch code {
	case 1004, 2049:
		return http.StatusUnauthorized
	case 1008, 1028, 1030, 2056, 2061:
		return http.StatusPaymentRequired
	case 1026, 1027:
		return http.StatusUnprocessableEntity
	case 1002, 1039, 1041, 2045:
		return http.StatusTooManyRequests
	case 1042, 2013:
		return http.StatusBadRequest
	case 2064:
		return statusOverloaded
	default:
		return http.StatusInternalServerError
	}
}

func (v2) refuse(w http.ResponseWriter, code int, message string) {
	writeJSON(w, v2Status(code), v2Error(v2Status(code), code, message))
}

// page chooses the code that the status is documented with; 0 where there is none.
func (v2) page(w http.ResponseWriter, status int) {
	codes := map[int]int{400: 2013, 401: 1004, 402: 1008, 422: 1026, 429: 1002, 500: 1000, statusOverloaded: 2064}
	message := http.StatusText(status)
	if code := codes[status]; code != 0 {
		message = text(code)
	}
	writeJSON(w, status, v2Error(status, codes[status], message))
}

func (v2) accepted(w http.ResponseWriter, id string) error {
	return tryWriteJSON(w, http.StatusOK, struct {
		TaskID string `json:"task_id"`
	}{id})
}

// v2Model is what a V2 model can make, and its prices by the price page: for each second of output and of reference
// video, by resolution, and for each image beyond those that are free.
type v2Model struct {
	priceUSD   map[string]float64
	clipUSD    map[string]float64
	minS, maxS int
	freeImages int
	imageUSD   float64
}

var v2Models = map[string]v2Model{
	"MiniMax-H3": {
		priceUSD: map[string]float64{"768P": 0.08, "2K": 0.13}, clipUSD: map[string]float64{"768P": 0.08, "2K": 0.13},
		minS: 4, maxS: 15, freeImages: 5, imageUSD: 0.04,
	},
	"MiniMax-H3-Max": {
		priceUSD: map[string]float64{"480P": 0.05, "768P": 0.08}, clipUSD: map[string]float64{"480P": 0.0553, "768P": 0.143},
		minS: 5, maxS: 15, freeImages: 2, imageUSD: 0.074,
	},
}

const (
	maxTextV2     = 7000 // characters
	maxReferences = 9
	maxClips      = 3
)

func (v2) validate(b create) string {
	m, ok := v2Models[b.Model]
	if !ok {
		return "model " + strconv.Quote(b.Model) + " does not exist"
	}
	if _, made := m.priceUSD[b.Resolution]; !made {
		return "resolution " + strconv.Quote(b.Resolution) + " is not one of the model's"
	}
	if b.Duration == nil || *b.Duration < m.minS || *b.Duration > m.maxS {
		return fmt.Sprintf("duration must be %d to %d", m.minS, m.maxS)
	}
	return validateContent(b)
}

func validateContent(b create) string {
	var texts, images, videos, audios, frames, references int
	for i, c := range b.Content {
		at := "content[" + strconv.Itoa(i) + "]"
		var url, kind string
		switch c.Type {
		case "text":
			if strings.TrimSpace(c.Text) == "" {
				return at + ".text is empty"
			}
			texts += utf8.RuneCountInString(c.Text)
			continue
		case "image_url":
			images, url, kind = images+1, c.ImageURL.URL, "reference_image"
		case "video_url":
			videos, url, kind = videos+1, c.VideoURL.URL, "reference_video"
		case "audio_url":
			audios, url, kind = audios+1, c.AudioURL.URL, "reference_audio"
		default:
			return at + ".type is not known"
		}
		if url == "" {
			return at + " has no url"
		}
		switch {
		case c.Type == "image_url" && (c.Role == "first_frame" || c.Role == "last_frame" || c.Role == ""):
			frames++
		case c.Role == kind:
			references++
		default:
			return at + ".role does not fit"
		}
	}
	concrete := []string{"21:9", "16:9", "4:3", "1:1", "3:4", "9:16"}
	switch {
	case texts == 0:
		return "content must have a text item"
	case texts > maxTextV2:
		return "the text is too long"
	case frames > 0 && references > 0:
		return "frames and references exclude each other"
	case frames > 2:
		return "there are more than two frames"
	case images-frames > maxReferences || videos > maxClips || audios > maxClips:
		return "there are too many references"
	case audios > 0 && images+videos == 0:
		return "reference audio cannot stand alone"
	case b.Ratio != "" && b.Ratio != "adaptive" && !slices.Contains(concrete, b.Ratio):
		return "ratio is not known"
	case len(b.Content) > 0 && images+videos+audios == 0 && !slices.Contains(concrete, b.Ratio):
		return "text alone needs a concrete ratio"
	}
	return ""
}

func (v2) priceUSD(b create) float64 {
	m, u := v2Models[b.Model], usageOf(b)
	price := float64(u.OutputSeconds)*m.priceUSD[b.Resolution] + float64(u.InputSeconds)*m.clipUSD[b.Resolution] +
		float64(max(0, u.InputImageCount-m.freeImages))*m.imageUSD
	return math.Round(price*1e9) / 1e9
}

var v2Words = map[phase]string{
	preparing: "queued", queueing: "queued", processing: "running", succeeded: "succeeded", failed: "failed",
	expired: "expired", cancelled: "cancelled",
}

// v2Task is a task in the answers to query and list.
type v2Task struct {
	ID         string     `json:"id"`
	Model      string     `json:"model"`
	Status     string     `json:"status"`
	Error      *v2Failure `json:"error,omitempty"`
	CreatedAt  int64      `json:"created_at"`
	UpdatedAt  int64      `json:"updated_at"`
	Content    *link      `json:"content,omitempty"`
	Resolution string     `json:"resolution"`
	Duration   int        `json:"duration"`
	Usage      v2Usage    `json:"usage"`
	Ratio      string     `json:"ratio"`
	TaskType   string     `json:"task_type"`
	Modality   string     `json:"modality"`
}

type v2Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// v2Usage is what is paid for: {} for a task that made nothing.
type v2Usage struct {
	TotalSeconds    int `json:"total_seconds,omitempty"`
	InputSeconds    int `json:"input_seconds,omitempty"`
	OutputSeconds   int `json:"output_seconds,omitempty"`
	InputImageCount int `json:"input_image_count,omitempty"`
}

// clipSeconds is how long each reference video is taken to be, for none is fetched.
const clipSeconds = 5

// usageOf is what a create uses if it succeeds.
func usageOf(b create) v2Usage {
	u := v2Usage{OutputSeconds: *b.Duration}
	for _, c := range b.Content {
		switch c.Type {
		case "image_url":
			u.InputImageCount++
		case "video_url":
			u.InputSeconds += clipSeconds
		}
	}
	u.TotalSeconds = u.InputSeconds + u.OutputSeconds
	return u
}

// taskV2 is a job as its owner sees it.
func (s *Server) taskV2(base string, j emulator.Job, l jobState) v2Task {
	b := bodyOf(j)
	t := v2Task{
		ID: j.ID, Model: j.Model, Status: v2Words[l.phase], CreatedAt: j.At.Unix(), UpdatedAt: l.since.Unix(),
		Resolution: b.Resolution, Ratio: b.Ratio, TaskType: "generation", Modality: "video",
	}
	if b.Duration != nil {
		t.Duration = *b.Duration
	}
	switch {
	case l.unknown:
		t.Status = unknownWord
	case l.phase == succeeded:
		t.Content = &link{s.mediaURL(base, j.ID)}
		t.Usage = usageOf(b)
	case l.phase == failed:
		t.Error = &v2Failure{strconv.Itoa(l.code), l.message}
	}
	return t
}

const invalidTask = "invalid task_id"

// jobV2 finds a job that V2 still knows.
func (s *Server) jobV2(id string) (emulator.Job, jobState, bool) {
	j, ok := s.o.Ledger.Job(id)
	if !ok || j.Extra[emulator.ExtraAPI] != "v2" {
		return j, jobState{}, false
	}
	l := s.stateOf(j, time.Now())
	return j, l, l.phase != gone
}

func (s *Server) queryV2(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("status")
	j, l, ok := s.jobV2(r.PathValue("id"))
	if !ok {
		v2{s}.refuse(w, 2013, invalidTask)
		return
	}
	name := s.pollFault(j)
	switch {
	case name == "not_found":
		v2{s}.refuse(w, 2013, invalidTask)
		return
	case name == "unknown":
		l.unknown = true
	case name != "" && fault(w, r, v2{s}, name):
		return
	case l.phase == succeeded && s.resultFault(j):
		s.failResult(w, r, v2{s}, j, func() { v2{s}.refuse(w, 1000, text(1000)) })
		return
	}
	t := s.taskV2(base(r), j, l)
	if emulator.ReadScript(j.Input).Result == noFile {
		t.Content = nil
	}
	emulator.Oddly(w, r, name, func(w http.ResponseWriter) {
		writeJSON(w, http.StatusOK, struct {
			Task v2Task `json:"task"`
		}{t})
	})
}

func (s *Server) listV2(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("list")
	q := r.URL.Query()
	page, size := number(q.Get("page_num"), 1), number(q.Get("page_size"), 10)
	if page < 1 || size < 1 || size > 100 {
		v2{s}.refuse(w, 2013, "invalid params, page_num or page_size")
		return
	}
	var ids []string
	if q.Get("filter.task_ids") != "" {
		ids = strings.Split(q.Get("filter.task_ids"), ",")
	}
	all := []v2Task{}
	now := time.Now()
	for _, j := range s.o.Ledger.Jobs() {
		l := s.stateOf(j, now)
		if j.Extra[emulator.ExtraAPI] != "v2" || l.phase == gone {
			continue
		}
		t := s.taskV2(base(r), j, l)
		if matches(q.Get("filter.status"), t.Status) && matches(q.Get("filter.model"), t.Model) &&
			matches(q.Get("filter.task_type"), t.TaskType) && (ids == nil || slices.Contains(ids, t.ID)) {
			all = append(all, t)
		}
	}
	slices.Reverse(all) // newest first
	from := min((page-1)*size, len(all))
	writeJSON(w, http.StatusOK, struct {
		Items []v2Task `json:"items"`
		Total int      `json:"total"`
	}{all[from:min(from+size, len(all))], len(all)})
}

func matches(filter, value string) bool { return filter == "" || filter == value }

// number reads a decimal; def where there is none, 0 where it is no number or too large for a page.
func number(s string, def int) int {
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > 1<<20 {
		return 0
	}
	return n
}

// deleteV2 cancels a queued job, deletes the record of an ended one, and refuses the others.
func (s *Server) deleteV2(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("cancel")
	id := r.PathValue("id")
	if _, _, ok := s.jobV2(id); !ok {
		v2{s}.refuse(w, 2013, invalidTask)
		return
	}
	action, status := "", ""
	err := s.o.Ledger.Update(id, func(j *emulator.Job) { action, status = s.delete(j, time.Now()) })
	s.webhooks.Plan(id)
	switch {
	case err != nil:
		v2{s}.refuse(w, 1000, text(1000))
	case action == "":
		v2{s}.refuse(w, 2013, "task cannot be cancelled in status "+status)
	default:
		writeJSON(w, http.StatusOK, struct {
			TaskID string `json:"task_id"`
			Action string `json:"action"`
			Status string `json:"status"`
		}{id, action, status})
	}
}

// delete decides by the state of the job. It runs inside the ledger's lock, so that two calls cannot both be right.
func (s *Server) delete(j *emulator.Job, now time.Time) (action, status string) {
	script := emulator.ReadScript(j.Input)
	if script.Cancel == "deleted" {
		mark(j, "hurry", "1")
	}
	l := s.stateOf(*j, now)
	if script.Cancel == "running" && !l.ended() {
		return "", v2Words[processing]
	}
	switch l.phase {
	case preparing, queueing:
		if script.Cancel != "ignored" {
			j.CancelledAt = &now
		}
		return "cancelled", v2Words[cancelled]
	case succeeded, failed, expired:
		mark(j, "deleted", now.UTC().Format(time.RFC3339))
		return "deleted", "deleted"
	default:
		return "", v2Words[l.phase]
	}
}
