package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// Lanes are lanes beside those that are named after their providers.
type Lanes struct {
	Lane []string `name:"lane" help:"A server of your own, such as gpu1=${self_hosted}:http://10.0.0.5:8000; may be repeated. Its key, if it has one, is in <NAME>_KEY." env:"REELAY_LANES" placeholder:"NAME=PROVIDER:URL"`
}

// A Lane is one of them.
type Lane struct {
	Name     string
	Provider string
	// URL has no slash at its end.
	URL string
	// Key is empty for none.
	Key secret.Value
}

// KeyEnv is the variable of the lane's key; <name>_FILE names a file that holds it instead.
func (l Lane) KeyEnv() string { return variable(l.Name) + "_KEY" }

// variable is a name as a part of an environment variable.
func variable(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// LaneError is an error about one of Lanes, as a SettingError.
func LaneError(err error) error { return wrong("--lane", "REELAY_LANES", err) }

// Validate checks every lane.
func (l Lanes) Validate() error {
	_, err := l.Named()
	return err
}

// Named returns the lanes, without their keys. Its error is a SettingError.
func (l Lanes) Named() ([]Lane, error) {
	var all []Lane
	taken := registry.Names()
	for _, text := range l.Lane {
		lane, err := parseLane(text)
		if err == nil && slices.Contains(taken, lane.Name) {
			err = fmt.Errorf("%s: there is a lane of that name already", lane.Name)
		}
		if err != nil {
			return nil, LaneError(err)
		}
		taken = append(taken, lane.Name)
		all = append(all, lane)
	}
	return all, nil
}

// parseLane reads NAME=PROVIDER:URL. It does not quote what may hold a password.
func parseLane(text string) (l Lane, err error) {
	name, of, named := strings.Cut(text, "=")
	kind, base, addressed := strings.Cut(of, ":")
	switch {
	case !named || !addressed || base == "":
		return l, errors.New("a lane is NAME=PROVIDER:URL, such as gpu1=" + selfHosted() + ":http://10.0.0.5:8000")
	case !events.ValidToken(name):
		return l, fmt.Errorf("the name of a lane is 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	case !registry.Find(kind).SelfHosted:
		return l, fmt.Errorf("%s: %.40q has no servers of one's own; %s has", name, kind, selfHosted())
	}
	l = Lane{Name: name, Provider: kind, URL: strings.TrimRight(base, "/")}
	if env := l.KeyEnv(); slices.Contains(registry.KeyEnvs(), env) || strings.HasPrefix(env, "REELAY_") {
		return l, fmt.Errorf("%s: its key would be in %s, which is another's", name, env)
	}
	if err := provider.CheckPrivateBaseURL(base); err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// selfHosted lists the providers that are servers of one's own.
func selfHosted() string {
	var names []string
	for _, p := range registry.All() {
		if p.SelfHosted {
			names = append(names, p.Name)
		}
	}
	return strings.Join(names, ", ")
}
