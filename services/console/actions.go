package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

// actionWait bounds one action. It goes on when the browser has gone.
const actionWait = 30 * time.Second

// An action does what a form asks for, as a user. It says what was done, as a word of doneText, and where to go on.
type action func(ctx context.Context, r *http.Request, u User) (done, to string, err error)

// actions are all actions by address.
func (s *Service) actions() map[string]action {
	return map[string]action{
		"/tasks/{project}/{task}/cancel":  s.cancel,
		"/tasks/{project}/{task}/resolve": s.resolve,
		"/lanes/{lane}/pause":             s.pauseLane,
		"/lanes/{lane}/resume":            s.resumeLane,
		"/lanes/{lane}/limits":            s.limitLane,
		"/spend/caps":                     s.setCap,
		"/spend/caps/unset":               s.unsetCap,
		"/try/submit":                     s.submit,
		"/dead/{id}/replay":               s.replayDead,
		"/callbacks/{id}/replay":          s.replayCallback,
	}
}

// doneText says what an action has done; nothing for a word that no action uses.
func doneText(word string) string {
	return map[string]string{
		"cancelled": "The cancel is recorded. What the provider has begun it may finish all the same.",
		"resolved":  "Your decision is recorded.",
		"paused":    "Nothing is sent for it any more.",
		"resumed":   "It sends again.",
		"limited":   "The limits count from now on.",
		"capped":    "The cap counts from now on.",
		"uncapped":  "The cap is taken away.",
		"replayed":  "The message is published again.",
		"submitted": "It is taken in.",
	}[word]
}

// acting lets only users act who may, and leads to a page when it is done.
func (s *Service) acting(do action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := userOf(r)
		if !u.MayAct() {
			s.problem(w, r, http.StatusForbidden, "You may see everything and change nothing: your role is "+string(u.Role)+".")
			return
		}
		if err := r.ParseForm(); err != nil {
			s.problem(w, r, http.StatusBadRequest, "The form could not be read; it may have at most 1 MiB.")
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actionWait)
		defer cancel()
		done, to, err := do(ctx, r, u)
		if err != nil {
			s.failed(w, r, err)
			return
		}
		s.o.Log.Info("somebody acts in the console", "user", u.Name, "path", r.URL.Path)
		http.Redirect(w, r, to+"?"+url.Values{"done": {done}}.Encode(), http.StatusSeeOther)
	})
}

// text returns a field of a form, without white space around it.
func text(r *http.Request, name string) string { return strings.TrimSpace(r.PostFormValue(name)) }

// signed adds to a reason who gives it.
func signed(reason string, u User) string {
	return strings.TrimSpace(reason + " (" + u.Name + ", in the console)")
}

func (s *Service) cancel(ctx context.Context, r *http.Request, u User) (string, string, error) {
	k := taskKey(r)
	_, err := s.client.Cancel(ctx, k, events.Cancel{Reason: signed(text(r, "reason"), u)})
	return "cancelled", taskPath(k.Project, k.ID), err
}

func (s *Service) resolve(ctx context.Context, r *http.Request, u User) (string, string, error) {
	k := taskKey(r)
	ask := events.Resolve{Action: events.ResolveAction(text(r, "action")), Reason: signed(text(r, "reason"), u)}
	if ask.Action == events.ResolveAdopt {
		ask.ProviderID = text(r, "provider_id")
	}
	_, err := s.client.Resolve(ctx, k, ask)
	return "resolved", taskPath(k.Project, k.ID), err
}

// revision is that of the setting as the user has seen it, so that nobody undoes what somebody else has set meanwhile.
func revision(r *http.Request) (*uint64, error) {
	n, err := strconv.ParseUint(text(r, "revision"), 10, 64)
	if err != nil {
		return nil, events.NewFieldError("revision", "is no number")
	}
	return &n, nil
}

func (s *Service) pauseLane(ctx context.Context, r *http.Request, u User) (string, string, error) {
	n, err := revision(r)
	if err != nil {
		return "", "", err
	}
	_, err = s.client.PauseLane(ctx, operator.PauseRequest{
		Lane: r.PathValue("lane"), Reason: text(r, "reason"), By: u.Name, Revision: n,
	})
	return "paused", "/lanes", err
}

func (s *Service) resumeLane(ctx context.Context, r *http.Request, u User) (string, string, error) {
	_, err := s.client.ResumeLane(ctx, operator.PauseRequest{Lane: r.PathValue("lane"), Reason: text(r, "reason"), By: u.Name})
	return "resumed", "/lanes", err
}

// limitLane replaces the limits of a lane by those of the form, JSON as the contract has it.
func (s *Service) limitLane(ctx context.Context, r *http.Request, u User) (string, string, error) {
	n, err := revision(r)
	if err != nil {
		return "", "", err
	}
	limits, err := events.DecodeLaneLimits([]byte(text(r, "limits")))
	if err != nil {
		return "", "", err
	}
	limits.By, limits.Reason = u.Name, text(r, "reason")
	_, err = s.client.LimitLane(ctx, operator.LimitsRequest{Lane: r.PathValue("lane"), Limits: limits, Revision: n})
	return "limited", "/lanes", err
}

// amount reads a field of US dollars; nil where it is empty.
func amount(r *http.Request, name string) (*float64, error) {
	if text(r, name) == "" {
		return nil, nil
	}
	usd, err := strconv.ParseFloat(text(r, name), 64)
	if err != nil || !(usd >= 0 && usd <= bucket.MaxCapUSD) {
		return nil, events.NewFieldError(name, "must be an amount in US dollars, 0 to %.0f", bucket.MaxCapUSD)
	}
	return &usd, nil
}

func (s *Service) setCap(ctx context.Context, r *http.Request, u User) (string, string, error) {
	daily, err := amount(r, "daily_usd")
	if err != nil {
		return "", "", err
	}
	unknown, err := amount(r, "unknown_usd")
	if err != nil {
		return "", "", err
	}
	_, err = s.client.SetCap(ctx, operator.CapRequest{
		Scope: bucket.Scope(text(r, "scope")), DailyUSD: daily, UnknownUSD: unknown, By: u.Name,
	})
	return "capped", "/spend", err
}

func (s *Service) unsetCap(ctx context.Context, r *http.Request, u User) (string, string, error) {
	n, err := revision(r)
	if err != nil {
		return "", "", err
	}
	_, err = s.client.UnsetCap(ctx, operator.CapRequest{Scope: bucket.Scope(text(r, "scope")), By: u.Name, Revision: n})
	return "uncapped", "/spend", err
}

// storedID reads the id of a stored message from the address.
func storedID(r *http.Request) (uint64, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil || id == 0 {
		return 0, events.NewFieldError("id", "is no number from 1")
	}
	return id, nil
}

func (s *Service) replayDead(ctx context.Context, r *http.Request, _ User) (string, string, error) {
	id, err := storedID(r)
	if err != nil {
		return "", "", err
	}
	_, err = s.client.ReplayDeadLetter(ctx, id)
	return "replayed", "/dead/" + r.PathValue("id"), err
}

func (s *Service) replayCallback(ctx context.Context, r *http.Request, _ User) (string, string, error) {
	id, err := storedID(r)
	if err != nil {
		return "", "", err
	}
	_, err = s.client.ReplayCallback(ctx, id)
	return "replayed", "/callbacks/" + r.PathValue("id"), err
}

// object checks that a field is a JSON object; nil where it is empty.
func object(field, value string) (json.RawMessage, error) {
	if value == "" {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(value), &members); err != nil || members == nil {
		return nil, events.NewFieldError(field, "is no JSON object")
	}
	return json.RawMessage(value), nil
}
