package submitter

import (
	"time"

	"reelay/events"
	"reelay/internal/journal"
	"reelay/internal/task"
)

// callbacksDisabledFor is how long the requests of a lane name no callback URL once the provider was seen not to accept
// it. Until then each task would use up two requests, and the provider counts both.
const callbacksDisabledFor = 10 * time.Minute

// callbackGrace is how long callbacks about a task count after it is polled no more, late results included: providers
// repeat those that they could not deliver for hours.
const callbackGrace = 6 * time.Hour

// callbackURLFor returns where the provider shall call back about an attempt of t, empty for nowhere: also if it has
// refused one that named such a URL, in words that may be about that.
func (s *Service) callbackURLFor(l *lane, t events.Task, e journal.Entry) string {
	if s.o.Callback == nil || l.NoCallback || !l.Driver.Features(t.Model).Webhook || l.callbacksDisabled(e.At) {
		return ""
	}
	if last := t.Attempt(); l.Handshake && last != nil && task.MayRefuseURL(*last) {
		return ""
	}
	return s.o.Callback.CallbackURL(l.Name, e.Key(), e.Attempt, t.Deadline.Add(task.LatePolling+callbackGrace))
}

// disableCallbacks keeps the requests of a lane from naming a callback URL for callbacksDisabledFor. It reports whether
// they did until now.
func (l *lane) disableCallbacks(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.callbacksDisabledUntil.After(now) {
		return false
	}
	l.callbacksDisabledUntil = now.Add(callbacksDisabledFor)
	return true
}

// callbacksDisabled reports whether requests name no callback URL now.
func (l *lane) callbacksDisabled(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.callbacksDisabledUntil.After(now)
}
