package openai

import (
	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

// callError is the error of a free call that was not answered with what it asked for.
func callError(r provider.Reply) *provider.Error { return free(jsonapi.CallError(r)) }

// newError makes an error and bounds its texts.
func newError(kind events.Kind, code, message string, r provider.Reply) *provider.Error {
	return free(jsonapi.NewError(kind, code, message, r))
}

// free says that nothing is charged: the machines are the operator's own.
func free(e *provider.Error) *provider.Error {
	e.Charge = events.ChargeNone
	return e
}

func inDoubt(code, message string, r provider.Reply) provider.Answer {
	a := jsonapi.InDoubt(code, message, r)
	a.Err = free(a.Err)
	return a
}
