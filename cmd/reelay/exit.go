package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"reelay/events/client"
	"reelay/internal/config"
)

// The exit codes.
const (
	exitFailed      = 1
	exitUnreachable = 3
	exitInterrupted = 130 // as a shell reports SIGINT
)

var (
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
	case errors.Is(err, config.ErrUnreachable), errors.Is(err, client.ErrNoService), errors.Is(err, client.ErrNoAnswer),
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
		fmt.Fprintf(w, "reelay: %s\n", cleanLines(err.Error())) // a refusal may quote strangers
	}
	if errors.Is(err, client.ErrNoService) || errors.Is(err, client.ErrNoAnswer) {
		fmt.Fprintln(w, "reelay: is `reelay up` running on this NATS? `reelay doctor` tells more")
	}
	return exitCode(err)
}

// parseOptions are the options of the command line beyond its grammar.
func parseOptions(ctx context.Context, e *env) []kong.Option {
	return []kong.Option{
		kong.Writers(e.stdout, e.stderr), kong.BindTo(ctx, (*context.Context)(nil)), kong.PostBuild(addExamples),
	}
}
