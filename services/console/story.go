package console

import "reelay/events"

// stories are the steps of a task in people's words, by the name of the step, with the class of its mark. A step that is
// not here is told by its name.
func stories() map[string][2]string {
	return map[string][2]string{
		"accept":             {"Taken in", ""},
		"dependencies_ended": {"What it waited for has ended", ""},
		"dependency_failed":  {"A task that it needs has no result", "bad"},
		"intend":             {"Intent to pay recorded", ""},
		"cap_reached":        {"A cap on spending is used up", "warn"},
		"positioned":         {"Place in the queue", ""},
		"release":            {"Proven not sent", ""},
		"accepted":           {"The provider took it", "run"},
		"late_accepted":      {"The provider had taken it after all", "warn"},
		"double_accept":      {"The provider took it twice", "bad"},
		"shared_id":          {"The provider gave its id to another task too", "bad"},
		"refused_wait":       {"Refused for now; tried again later", "warn"},
		"refused":            {"The provider refused it", "bad"},
		"doubt":              {"In doubt: no answer that can be read", "warn"},
		"overdue":            {"In doubt: nobody reported the answer", "warn"},
		"searched":           {"Searched for in the provider's list", ""},
		"park":               {"Parked for a person", "bad"},
		"resubmit":           {"To be sent again", "warn"},
		"write_off":          {"Written off", "bad"},
		"provider_queued":    {"In the provider's queue", ""},
		"run":                {"The provider has begun", "run"},
		"fetch":              {"The provider has finished", "run"},
		"progress":           {"Progress", ""},
		"unknown_word":       {"The provider said a word that nobody knows", "warn"},
		"poll_failed":        {"A poll failed", "warn"},
		"poll_recovered":     {"Polls work again", ""},
		"lost":               {"The provider no longer knows it", "bad"},
		"succeed":            {"Completed", "ok"},
		"store":              {"Result known; being stored", "run"},
		"stored_part":        {"An output is stored", ""},
		"stored":             {"Outputs stored", "ok"},
		"dropped":            {"Outputs no longer stored", ""},
		"erase":              {"Being erased", "plain"},
		"erased":             {"Erased", "plain"},
		"fail":               {"Failed", "bad"},
		"cancelled":          {"Cancelled", "plain"},
		"cancel_noted":       {"Cancel noted", "warn"},
		"cancel":             {"Cancel asked for", "warn"},
		"cancel_sent":        {"Cancel sent to the provider", ""},
		"cancel_void":        {"The provider does not cancel; it goes on", "warn"},
		"cancel_void_queued": {"The provider does not cancel; it goes on", "warn"},
		"expire":             {"Deadline passed; being cancelled", "warn"},
		"expired":            {"Deadline passed", "bad"},
		"late_result":        {"A late result was kept", "ok"},
		"late_end":           {"The late end is known", ""},
		"announced":          {"The end was announced", ""},
	}
}

func stepWords(t events.Transition) string {
	if story, ok := stories()[t.Name]; ok {
		return story[0]
	}
	return word(t.Name)
}

func stepTone(t events.Transition) string { return stories()[t.Name][1] }

// eventWords says what an event tells, and the class of its mark.
func eventWords(e events.EventType) [2]string {
	switch e {
	case events.EventQueued:
		return [2]string{"taken in", ""}
	case events.EventSubmitted:
		return [2]string{"at the provider", "run"}
	case events.EventProgress:
		return [2]string{"progress", ""}
	case events.EventInDoubt:
		return [2]string{"in doubt", "warn"}
	case events.EventCompleted:
		return [2]string{"completed", "ok"}
	case events.EventFailed:
		return [2]string{"failed", "bad"}
	case events.EventRejected:
		return [2]string{"rejected", "bad"}
	case events.EventStored, events.EventLateResult, events.EventBatchDone, events.EventResumed:
		return [2]string{word(e), "ok"}
	case events.EventPaused:
		return [2]string{"lane paused", "warn"}
	}
	return [2]string{word(e), ""}
}

func outcomeWords(o events.AttemptOutcome) [2]string {
	switch o {
	case events.AttemptOpen:
		return [2]string{"the request may be out", "warn"}
	case events.AttemptReleased:
		return [2]string{"proven not sent", "plain"}
	case events.AttemptAccepted:
		return [2]string{"the provider took it", "ok"}
	case events.AttemptRefused:
		return [2]string{"the provider refused it", "bad"}
	case events.AttemptInDoubt:
		return [2]string{"in doubt", "warn"}
	}
	return [2]string{word(o), "plain"}
}

func sourceWords(s events.EvidenceSource) string {
	switch s {
	case events.SourceReply:
		return "the provider's answer"
	case events.SourceCallback:
		return "a callback"
	case events.SourceList:
		return "the provider's list"
	case events.SourcePerson:
		return "a person"
	case events.SourceTimer:
		return "the timer"
	}
	return word(s)
}
