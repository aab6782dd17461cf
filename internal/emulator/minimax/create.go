package minimax

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// create is the body of a create, of either API.
type create struct {
	Model       string `json:"model"`
	CallbackURL string `json:"callback_url"`
	Resolution  string `json:"resolution"`
	Duration    *int   `json:"duration"`

	// V1
	Prompt           string            `json:"prompt"`
	FirstFrameImage  string            `json:"first_frame_image"`
	LastFrameImage   string            `json:"last_frame_image"`
	SubjectReference []json.RawMessage `json:"subject_reference"`

	// V2
	Content []item `json:"content"`
	Ratio   string `json:"ratio"`
}

// item is one part of a V2 create.
type item struct {
	Type     string `json:"type"`
	Role     string `json:"role"`
	Text     string `json:"text"`
	ImageURL link   `json:"image_url"`
	VideoURL link   `json:"video_url"`
	AudioURL link   `json:"audio_url"`
}

type link struct {
	URL string `json:"url"`
}

// prompt is all the text of a create.
func (b create) prompt() string {
	words := b.Prompt
	for _, c := range b.Content {
		words += " " + c.Text
	}
	return words
}

// create takes a paid request.
func (s *Server) create(g generation) http.HandlerFunc {
	return s.authorised(g, func(w http.ResponseWriter, r *http.Request) {
		s.o.Ledger.Call("submit")
		body, wrong := readBody(w, r)
		script := emulator.ReadScript(body)
		if script.Submit == "reset_before" {
			reset(w)
			return
		}
		if r.Header.Get("Authorization") == "Bearer sk-api-poor" {
			g.refuse(w, 1008, text(1008))
			return
		}
		if !s.takeToken(g.name()) {
			g.refuse(w, 1002, "rate limit")
			return
		}
		var b create
		if wrong == "" && json.Unmarshal(body, &b) != nil {
			wrong = "a field has a wrong type"
		}
		if wrong == "" {
			wrong = g.validate(b)
		}
		if wrong != "" {
			g.refuse(w, 2013, "invalid params, "+wrong)
			return
		}
		if code, ok := strings.CutPrefix(script.Submit, "refuse_"); ok && fault(w, r, g, code) {
			return
		}
		if strings.Contains(b.prompt(), "#1026") {
			g.refuse(w, 1026, text(1026))
			return
		}
		s.accept(w, r, g, b, body, script)
	})
}

// accept records the job, which is its payment, and then answers, or fails to.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, g generation, b create, body []byte, script emulator.Script) {
	lost, fails := strings.CutPrefix(script.Submit, "accept_then_")
	sum := sha256.Sum256(body)
	j := emulator.Job{
		Provider: providerName, Model: b.Model, Correlation: b.CallbackURL, BodySHA256: hex.EncodeToString(sum[:]),
		Input: body, Answered: !fails, PriceUSD: g.priceUSD(b), Extra: map[string]string{"api": g.name()},
	}
	j, code := s.admit(j)
	if code != 0 {
		g.refuse(w, code, text(code))
		return
	}
	if fails {
		s.lose(w, r, g, lost)
		return
	}
	if err := g.accepted(w, j.ID); err != nil {
		_ = s.o.Ledger.Update(j.ID, func(j *emulator.Job) { j.Answered = false }) // nobody is left to tell
	}
}

// lose answers the create of an accepted job in a way that does not tell its id.
func (s *Server) lose(w http.ResponseWriter, r *http.Request, g generation, how string) {
	if !fault(w, r, g, how) {
		reset(w)
	}
}

// admit stores a job under a new id unless a limit stands against it, whose code is returned.
func (s *Server) admit(j emulator.Job) (emulator.Job, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.jobs >= s.o.MaxJobs {
		return j, 1041
	}
	if j.Extra["api"] == "v2" && s.o.InFlight > 0 && s.inFlight(now) >= s.o.InFlight {
		return j, 1002
	}
	j.At, j.ID = now, s.nextID(now)
	if s.o.Ledger.Accept(j) != nil {
		return j, 1000
	}
	s.jobs++
	if j.Extra["api"] == "v2" {
		s.flying[j.ID] = struct{}{}
	}
	return j, 0
}

// inFlight counts the V2 jobs that have not ended.
func (s *Server) inFlight(now time.Time) int {
	for id := range s.flying {
		j, ok := s.o.Ledger.Job(id)
		if !ok || s.life(j, now).ended() {
			delete(s.flying, id)
		}
	}
	return len(s.flying)
}

// takeToken counts a create against the requests per minute.
func (s *Server) takeToken(api string) bool {
	if s.o.RPM <= 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	recent := slices.DeleteFunc(s.creates[api], func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(recent) >= s.o.RPM {
		s.creates[api] = recent
		return false
	}
	s.creates[api] = append(recent, now)
	return true
}

// nextID returns a decimal id of 15 to 18 digits that no job had. The id after it is left for the job's file.
func (s *Server) nextID(now time.Time) string {
	// A float64 holds no odd number over 2^53.
	step, rest := int64(1000), int64(1)
	if s.o.BigIDs {
		step, rest = 100_000, 12_345
	}
	n := max(now.UnixMilli(), s.lastID/step+1)
	s.lastID = n*step + rest
	return strconv.FormatInt(s.lastID, 10)
}
