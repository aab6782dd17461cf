package task

import "reelay/events"

// MayRefuseURL reports whether a provider that calls the callback URL back before it accepts may have refused an attempt
// for its URL.
func MayRefuseURL(a events.Attempt) bool {
	return a.Callback && a.Outcome == events.AttemptRefused && a.Error != nil && a.Error.Kind == events.KindInvalid
}

// ProvesURL reports whether a task whose last attempt was accepted shows that it was the callback URL, and nothing
// else, that the provider did not take: the attempt before differs in it alone.
func ProvesURL(t events.Task) bool {
	n := len(t.Attempts)
	return n > 1 && !t.Attempts[n-1].Callback && MayRefuseURL(t.Attempts[n-2])
}
