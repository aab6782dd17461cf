package minimax

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// A ruling says what an HTTP status proves about a paid request.
type ruling int

const (
	// doubt: nothing is proven, whatever the code says.
	doubt ruling = iota
	// byCode: refused if the code or the type of MiniMax's error proves it, else in doubt.
	byCode
	// byLoad: as byCode, for codes of overload and rate only: a server that broke may have taken the request before.
	byLoad
	// The others refuse. In MiniMax's own envelope a code that is known says why, or that it is in doubt after all.
	tooMany     // KindRateLimited
	wrongKey    // KindAuth
	noMoney     // KindQuota
	wrong       // KindInvalid
	tooLarge    // KindInvalid, and it is a proxy's limit
	wrongServer // KindAddress
)

// rulings is what each HTTP status of an answer to a paid request proves, by whether it comes in an envelope of
// MiniMax's (base_resp or error, from either generation) or as anybody's page. The first row that holds the status
// counts; what is in no row is in doubt.
var rulings = []struct {
	first, last int
	own         ruling
	foreign     ruling
}{
	{200, 299, byCode, doubt},
	// Only these leave a POST undone; 303 follows one that was done (RFC 9110, 15.4).
	{301, 302, wrongServer, wrongServer},
	{307, 308, wrongServer, wrongServer},
	{401, 401, wrongKey, wrongServer},
	{402, 402, noMoney, noMoney},
	{403, 403, wrongKey, wrongServer},
	{404, 405, wrong, wrongServer},
	{407, 407, wrongServer, wrongServer},
	{408, 409, doubt, doubt},
	{410, 410, wrong, wrongServer},
	{413, 414, wrong, tooLarge},
	{429, 429, tooMany, tooMany},
	{431, 431, wrong, tooLarge},
	{499, 499, doubt, doubt}, // a proxy whose client has gone
	{400, 498, wrong, wrong},
	{503, 503, byLoad, doubt},
	{529, 529, byLoad, doubt},
}

// rulingOf looks an answer up.
func rulingOf(status int, own bool) ruling {
	for _, row := range rulings {
		if status < row.first || status > row.last {
			continue
		}
		if own {
			return row.own
		}
		return row.foreign
	}
	return doubt
}

// kind is the kind of a refusal; "" for a ruling that does not refuse by itself.
func (r ruling) kind() events.Kind {
	return map[ruling]events.Kind{
		tooMany: events.KindRateLimited, wrongKey: events.KindAuth, noMoney: events.KindQuota,
		wrong: events.KindInvalid, tooLarge: events.KindInvalid, wrongServer: events.KindAddress,
	}[r]
}

// Classify reads the answer to a create.
//
// Accepted: a 2xx with a task id, whatever else it says: an id can be asked about, free of charge. Refused: no id, and
// a status or a code of MiniMax's that proves that nothing was bought, as the table rulings tells; both generations are
// read alike, since a gateway may answer for either in the other's form. Everything else is InDoubt, with what was
// answered in Body. An API that answers with what it makes has rules of its own on top, see call.classify.
func (d *Driver) Classify(model string, sent []byte, r provider.Reply) provider.Answer {
	switch g := generationOf(model).(type) {
	case nil:
		return d.inDoubt("unknown_model", "the model is of no known family", r)
	case call:
		return g.classify(d, sent, r)
	}
	says := readEnvelope(r.Body)
	id := createdID(r.Body, says)
	switch {
	case isOK(r.Status) && id.isID():
		handle, err := d.refWith(model, string(id), charactersOf(model, r.Body))
		if err != nil {
			return d.inDoubt("bad_task_id", err.Error(), r)
		}
		return provider.Answer{Outcome: provider.Accepted, Ref: handle, ID: string(id)}
	case !id.none():
		return d.inDoubt("bad_task_id", fmt.Sprintf("HTTP %d with task id %q", r.Status, id), r)
	}
	if err := d.refusal(says, r); err != nil {
		err.Charge = events.ChargeNone
		return provider.Answer{Outcome: provider.Refused, Err: err}
	}
	return d.unclear(says, r, "a task id")
}

// unclear is an answer that proves nothing and lacks what was asked for.
func (d *Driver) unclear(says envelope, r provider.Reply, lacks string) provider.Answer {
	switch {
	case says.own && !says.ok():
		err := d.envelopeError(says, r)
		return d.inDoubt(err.Code, err.Message, r)
	case isOK(r.Status):
		code := "no_" + strings.ReplaceAll(strings.TrimPrefix(lacks, "a "), " ", "_")
		return d.inDoubt(code, fmt.Sprintf("HTTP %d without %s%s", r.Status, lacks, says.quoted()), r)
	default:
		return d.inDoubt(httpCode(r.Status),
			fmt.Sprintf("HTTP %d without an answer of MiniMax's own%s", r.Status, says.quoted()), r)
	}
}

// charactersOf is what the create of a speech task says that it bills; nil for another.
func charactersOf(model string, body []byte) *float64 {
	var a struct {
		Characters lax[*float64] `json:"usage_characters"`
	}
	if _, ok := generationOf(model).(speech); !ok || json.Unmarshal(body, &a) != nil {
		return nil
	}
	return a.Characters.v
}

// refusal returns why nothing was bought, and nil where that is not proven.
func (d *Driver) refusal(says envelope, r provider.Reply) *provider.Error {
	how := rulingOf(r.Status, says.own)
	m, known := says.meaning()
	switch how {
	case doubt:
		return nil
	case byCode:
		if !m.refusal {
			return nil
		}
		return d.envelopeError(says, r)
	case byLoad:
		if known && (!m.refusal || m.kind != events.KindRateLimited) || !known && r.Status != statusOverloaded {
			return nil
		}
		err := d.envelopeError(says, r)
		err.Kind = events.KindRateLimited
		return err
	case wrongServer:
		return d.addressError(says, r)
	}
	switch {
	case says.own && known && m.refusal:
		return d.envelopeError(says, r)
	case says.own && known && how != tooMany && (m.kind == events.KindRetry || m.kind == events.KindModeration):
		return nil // the code of a task that was under way
	case says.own && !says.ok():
		err := d.envelopeError(says, r)
		if !known || how == tooMany {
			err.Kind = how.kind()
		}
		return err
	}
	text := fmt.Sprintf("HTTP %d%s", r.Status, says.quoted())
	if how == tooLarge {
		text = "a proxy before MiniMax refused the request as over its limit: " + text
	}
	kind := how.kind()
	if kind == events.KindInvalid && says.moderated() {
		kind = events.KindModeration
	}
	return d.newError(kind, httpCode(r.Status), text, r)
}

// addressError says that somebody else than MiniMax answers at the base URL.
func (d *Driver) addressError(says envelope, r provider.Reply) *provider.Error {
	why := fmt.Sprintf("HTTP %d", r.Status)
	if r.Status < 400 {
		why += ", it redirects to " + provider.RedirectTarget(r.Header.Get("Location"))
	}
	return d.newError(events.KindAddress, httpCode(r.Status), fmt.Sprintf("what answers at the base URL is not MiniMax's "+
		"video API (%s%s): is the base URL right, or does a proxy stand before it?", why, says.quoted()), r)
}

func (d *Driver) inDoubt(code, message string, r provider.Reply) provider.Answer {
	err := d.newError(events.KindAmbiguous, code, message, r)
	err.Charge = events.ChargePossible
	body := slices.Clip(r.Body[:min(len(r.Body), provider.MaxBodyBytes)])
	return provider.Answer{Outcome: provider.InDoubt, Err: err, Body: d.redactRaw(body)}
}

// createdID finds the task id in the answer to a create: MiniMax's task_id, or where gateways put it. Beside an error
// the other names are those of the call, not of a task.
func createdID(body []byte, says envelope) text {
	type ids struct {
		TaskID    lax[text] `json:"task_id"`
		TaskID2   lax[text] `json:"taskId"`
		ID        lax[text] `json:"id"`
		RequestID lax[text] `json:"requestId"`
	}
	var a struct {
		ids
		Task lax[ids] `json:"task"`
		Data lax[ids] `json:"data"`
	}
	if !isJSON(body, &a) {
		return ""
	}
	all := []text{a.TaskID.v, a.TaskID2.v, a.Data.v.TaskID.v, a.Data.v.TaskID2.v}
	if !says.own || says.ok() {
		all = append(all, a.Task.v.ID.v, a.ID.v, a.Data.v.ID.v, a.RequestID.v, a.Data.v.RequestID.v)
	}
	for _, id := range all {
		if !id.none() {
			return id
		}
	}
	return ""
}
