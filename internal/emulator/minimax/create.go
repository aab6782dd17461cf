package minimax

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
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

	createAudio
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
	words := b.Prompt + " " + b.Text
	for _, c := range b.Content {
		words += " " + c.Text
	}
	return words
}

// create takes a paid request.
func (s *Server) create(g generation) http.HandlerFunc {
	return s.authorised(g, func(w http.ResponseWriter, r *http.Request) {
		s.o.Ledger.Call("submit")
		at := time.Now()
		refused := func(code int) { s.o.Ledger.Refuse(emulator.Submit{At: at, API: g.name(), Code: code}) }
		refuse := func(code int, message string) {
			refused(code)
			g.refuse(w, code, message)
		}
		body, wrong := readBody(w, r)
		script := emulator.ReadScript(body)
		if script.Submit == "reset_before" {
			refused(0)
			reset(w)
			return
		}
		if r.Header.Get("Authorization") == "Bearer sk-api-poor" {
			refuse(1008, text(1008))
			return
		}
		// From here on it is of that time, so that the jobs of any minute are as many as the limit lets through.
		at, ok := s.takeToken(g.name())
		if !ok {
			refuse(1002, "rate limit")
			return
		}
		var b create
		if wrong == "" && json.Unmarshal(body, &b) != nil {
			wrong = "a field has a wrong type"
		}
		if wrong == "" {
			wrong = g.validate(b)
		}
		if wrong == "" {
			wrong = s.missingFile(g, body)
		}
		if wrong != "" {
			refuse(2013, "invalid params, "+wrong)
			return
		}
		if a, ok := g.(answering); ok && a.refusal(b) != 0 {
			refuse(a.refusal(b), text(a.refusal(b)))
			return
		}
		if name, ok := strings.CutPrefix(script.Submit, "refuse_"); ok && isFault(name) {
			code, _ := strconv.Atoi(name) // 0 for a fault that has no number
			refused(code)
			fault(w, r, g, name)
			return
		}
		if strings.Contains(b.prompt(), "#1026") {
			refuse(1026, text(1026))
			return
		}
		sum := sha256.Sum256(body)
		j := emulator.Job{
			Provider: providerName, Model: b.Model, At: at, Correlation: b.CallbackURL, BodySHA256: hex.EncodeToString(sum[:]),
			Input: emulator.KeptBody(body), PriceUSD: g.priceUSD(b), Extra: map[string]string{emulator.ExtraAPI: g.name()},
		}
		if _, ok := g.(answering); ok {
			mark(&j, extraBase, base(r))
			takeTime(r.Context(), script)
		}
		if b.CallbackURL != "" && s.webhooks.Enabled() {
			mark(&j, extraBase, base(r))
			if !s.challenge(r.Context(), j) {
				if s.o.FailedChallenge != IgnoreCallback {
					refuse(2013, "invalid params, callback_url did not answer the challenge")
					return
				}
				mark(&j, extraCallbackIgnored, "1")
			}
		}
		if code := s.accept(w, r, g, j, script); code != 0 {
			refuse(code, text(code))
		}
	})
}

// takeTime lets a call that is answered with its result take as long as its script says.
func takeTime(ctx context.Context, script emulator.Script) {
	if script.RunMS == nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(*script.RunMS) * time.Millisecond):
	}
}

// accept records the job, which is its payment, and then answers, or fails to. What it does not accept it does not
// answer: it returns the code.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, g generation, j emulator.Job,
	script emulator.Script,
) int {
	lost, fails := strings.CutPrefix(script.Submit, "accept_then_")
	j.Answered = !fails
	j, code := s.admit(j)
	if code != 0 {
		return code
	}
	s.webhooks.Accepted(r.Context(), j.ID)
	if fails {
		s.lose(w, r, g, lost)
		return 0
	}
	if err := g.accepted(w, j.ID); err != nil {
		_ = s.o.Ledger.Update(j.ID, func(j *emulator.Job) { j.Answered = false }) // the client has gone
	}
	return 0
}

// lose answers the create of an accepted job in a way that withholds its id.
func (s *Server) lose(w http.ResponseWriter, r *http.Request, g generation, how string) {
	if !fault(w, r, g, how) {
		reset(w)
	}
}

// admit stores a job under a new id unless a limit stands against it, whose code is returned.
func (s *Server) admit(j emulator.Job) (emulator.Job, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs >= s.o.MaxJobs {
		return j, 1041
	}
	if j.Extra[emulator.ExtraAPI] == "v2" && s.inFlightLimit > 0 && s.inFlight(time.Now()) >= s.inFlightLimit {
		return j, 1002
	}
	j.ID = s.nextID(j.At)
	j, err := s.o.Ledger.Accept(j)
	if err != nil {
		return j, 1000
	}
	s.jobs++
	if j.Extra[emulator.ExtraAPI] == "v2" {
		s.inFlightIDs[j.ID] = struct{}{}
	}
	return j, 0
}

// inFlight counts the V2 jobs that have not ended.
func (s *Server) inFlight(now time.Time) int {
	for id := range s.inFlightIDs {
		j, ok := s.o.Ledger.Job(id)
		if !ok || s.stateOf(j, now).ended() {
			delete(s.inFlightIDs, id)
		}
	}
	return len(s.inFlightIDs)
}

// takeToken counts a create against the requests per minute and returns the time at which it was counted.
func (s *Server) takeToken(api string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	return now, s.rates[api].Allow(now)
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
