package minimax

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// phase is where a job is, for both APIs.
type phase int

const (
	preparing phase = iota
	queueing
	processing
	succeeded
	failed
	expired
	cancelled
	gone // deleted by its owner, or too old to be asked about
)

// retention is how long V2 knows a task, by its list page. For V1 it is not documented.
const retention = 7 * 24 * time.Hour

// jobState is the state of a job at one moment.
type jobState struct {
	phase phase
	// code and message are why it failed.
	code    int
	message string
	// unknown asks for a state word that no documentation has.
	unknown bool
	// since is when the phase began.
	since time.Time
}

func (l jobState) ended() bool { return l.phase >= succeeded }

// stateOf derives the state of a job from what the ledger has of it.
func (s *Server) stateOf(j emulator.Job, now time.Time) jobState {
	script := emulator.ReadScript(j.Input)
	b := bodyOf(j)
	speed := s.speedOf(j)
	if isAnswered(j.Extra[emulator.ExtraAPI]) {
		return end(script, b, j.At)
	}
	started, ended := j.At.Add(speed.Queue), j.At.Add(speed.Queue+speed.Run)
	stalled := script.Stall == "running" || strings.Contains(b.prompt(), "#stall")
	if j.Extra["hurry"] != "" { // a scripted race has ended it early
		ended = j.At
		stalled = false
	}
	switch {
	case j.Extra["deleted"] != "" || now.Sub(j.At) > retention:
		return jobState{phase: gone, since: j.At}
	case j.CancelledAt != nil:
		return jobState{phase: cancelled, since: *j.CancelledAt}
	case script.Stall == "queued" && j.Extra["hurry"] == "":
		return jobState{phase: queueing, since: j.At}
	case !now.Before(ended) && !stalled:
		return end(script, b, ended)
	case !now.Before(started):
		return jobState{phase: processing, since: started, unknown: strings.Contains(b.prompt(), "#unknown")}
	case now.Sub(j.At) < speed.Queue/4:
		return jobState{phase: preparing, since: j.At}
	default:
		return jobState{phase: queueing, since: j.At}
	}
}

// speedOf returns how long a job takes.
func (s *Server) speedOf(j emulator.Job) emulator.Speed {
	p := s.o.Speed
	if s.o.Draw != nil {
		p = s.o.Draw(j)
	}
	return p.Of(emulator.ReadScript(j.Input))
}

// bodyOf is the create that a job came from.
func bodyOf(j emulator.Job) create {
	var b create
	_ = json.Unmarshal(j.Input, &b) // it was read when the job was accepted
	return b
}

// charge is what a job was charged for so far: the price if it has succeeded, nothing if it has failed, was cancelled
// or was moderated. A record that its owner has deleted was charged for as it had ended.
func (s *Server) charge(j emulator.Job) float64 {
	j = undeleted(j)
	now := time.Now()
	if last := j.At.Add(retention); now.After(last) {
		now = last // what is too old to be asked about has ended long before
	}
	if s.stateOf(j, now).phase != succeeded {
		return 0
	}
	if j.Extra[emulator.ExtraAPI] == apiClone || j.Extra[emulator.ExtraAPI] == apiDesign {
		return s.voicePrice(j)
	}
	return j.PriceUSD
}

// undeleted is a job as it would be if its owner had not deleted its record.
func undeleted(j emulator.Job) emulator.Job {
	if j.Extra["deleted"] != "" {
		j.Extra = maps.Clone(j.Extra)
		delete(j.Extra, "deleted")
	}
	return j
}

// end is how a job ends.
func end(script emulator.Script, b create, at time.Time) jobState {
	code, err := strconv.Atoi(script.Fail)
	switch {
	case strings.EqualFold(script.Fail, "expired"):
		return jobState{phase: expired, since: at}
	case script.Fail != "" && (err != nil || code <= 0):
		return jobState{phase: failed, code: 1000, message: script.Fail, since: at}
	case script.Fail != "":
		return jobState{phase: failed, code: code, message: text(code), since: at}
	case strings.Contains(b.prompt(), "#1027"):
		return jobState{phase: failed, code: 1027, message: text(1027), since: at}
	}
	return jobState{phase: succeeded, since: at}
}

// count increments a counter of a job that has to outlive the process, and returns its value.
func (s *Server) count(id, name string) int {
	n := 0
	_ = s.o.Ledger.Update(id, func(j *emulator.Job) {
		n, _ = strconv.Atoi(j.Extra[name])
		n++
		mark(j, name, strconv.Itoa(n))
	}) // a counter that could not be stored is still right until the next start
	return n
}

// mark sets an extra of a job. The map is replaced because readers of the ledger share the old one.
func mark(j *emulator.Job, name, value string) {
	extra := maps.Clone(j.Extra)
	if extra == nil {
		extra = map[string]string{}
	}
	extra[name] = value
	j.Extra = extra
}

// pollFault is the fault that this poll meets, "" for none.
func (s *Server) pollFault(j emulator.Job) string {
	script := emulator.ReadScript(j.Input)
	if script.Polls == "" || script.PollFaults > 0 && s.count(j.ID, "polls") > script.PollFaults {
		return ""
	}
	return script.Polls
}

// noFile is the script of a result that names no file.
const noFile = "no_file"

// failResult lets a read of a finished result fail as its script says, or else as usual.
func (s *Server) failResult(w http.ResponseWriter, r *http.Request, g generation, j emulator.Job, usual func()) {
	if !fault(w, r, g, emulator.ReadScript(j.Input).Result) {
		usual()
	}
}

// resultFault reports whether this read of a finished result fails.
func (s *Server) resultFault(j emulator.Job) bool {
	n := emulator.ReadScript(j.Input).ResultFaults
	return n > 0 && s.count(j.ID, "results") <= n
}
