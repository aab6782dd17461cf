// Package config holds the settings that the binaries share, as structs that kong embeds. Every setting is a flag and,
// where its tag says so, an environment variable; keys come from the environment or from files only, never from flags,
// which other users of a machine can see. A setting that is not given works; a wrong one stops the start with a
// SettingError that names it.
package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// A SettingError says which setting is wrong and why. Its text never holds a secret.
type SettingError struct {
	// Flag is the flag with its dashes, Env the environment variable; either may be empty where there is none.
	Flag string
	Env  string
	Err  error
}

// Error returns "<flag> (<variable>): <why>".
func (e *SettingError) Error() string {
	switch {
	case e.Flag == "":
		return e.Env + ": " + e.Err.Error()
	case e.Env == "":
		return e.Flag + ": " + e.Err.Error()
	default:
		return e.Flag + " (" + e.Env + "): " + e.Err.Error()
	}
}

// Unwrap returns why the setting is wrong.
func (e *SettingError) Unwrap() error { return e.Err }

// wrong returns a SettingError, or nil for a nil err.
func wrong(flag, env string, err error) error {
	if err == nil {
		return nil
	}
	return &SettingError{Flag: flag, Env: env, Err: err}
}

// between checks a value against its limits, both included.
func between[T ~int | ~int64](v, low, high T) error {
	if v < low || v > high {
		return fmt.Errorf("%v is not between %v and %v", v, low, high)
	}
	return nil
}

// checkHostPort accepts "host:port" with a numeric port; 0 lets the system pick one, an empty host is every address.
func checkHostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no port between 0 and 65535", s)
	}
	return nil
}

var errEmpty = errors.New("must not be empty")
