package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/config"
)

// The exit codes.
const (
	exitFailed      = 1
	exitUnreachable = 3
	exitInterrupted = 130 // as a shell reports SIGINT
)

var (
	// errNoService says that NATS is there and nothing answers on it.
	errNoService = errors.New("no reelay service answers")
	// errNoAnswer says that somebody may have heard the request and that no answer came.
	errNoAnswer = errors.New("no answer")
	// errInterrupted says that the user broke off; what to do next was printed.
	errInterrupted = errors.New("interrupted")
	// errFailed says that a task or a check ended badly and that its reason was printed.
	errFailed = errors.New("failed")
)

// A usageError is a wrong command line that only the command itself can tell.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// An apiError is a refusal by a service.
type apiError struct{ reason events.Error }

func (e *apiError) Error() string {
	if r := e.reason; r.Field != "" && !strings.HasPrefix(r.Message, r.Field+": ") {
		return clean(fmt.Sprintf("%s: %s (%s)", r.Field, r.Message, r.Code))
	}
	return clean(e.reason.Error())
}

// exitCode maps what a command returned to its exit code.
func exitCode(err error) int {
	var usage *usageError
	var setting *config.SettingError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &setting):
		return config.ExitUsage
	case errors.Is(err, config.ErrUnreachable), errors.Is(err, errNoService), errors.Is(err, errNoAnswer),
		errors.Is(err, nats.ErrConnectionClosed):
		return exitUnreachable
	default:
		return exitFailed
	}
}

// report prints why a command failed, unless it did so itself, and returns the exit code.
func report(w io.Writer, err error) int {
	quiet := errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) || errors.Is(err, errFailed)
	if err != nil && !quiet {
		fmt.Fprintf(w, "reelay: %v\n", err)
	}
	if errors.Is(err, errNoService) || errors.Is(err, errNoAnswer) {
		fmt.Fprintln(w, "reelay: is `reelay up` running on this NATS? `reelay doctor` tells more")
	}
	return exitCode(err)
}

// parseOptions are the options of the command line beyond its grammar.
func parseOptions(ctx context.Context, e *env) []kong.Option {
	return []kong.Option{kong.Writers(e.stdout, e.stderr), kong.BindTo(ctx, (*context.Context)(nil))}
}
