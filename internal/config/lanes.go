package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/group"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// Lanes are lanes beside those that are named after their providers.
type Lanes struct {
	Lane []string `name:"lane" help:"A server of your own, such as gpu1=PROVIDER:http://10.0.0.5:8000 with one of ${self_hosted}, or another account, such as NAME=PROVIDER; may be repeated. Its key is in <NAME>_KEY." env:"REELAY_LANES" placeholder:"NAME=PROVIDER[:URL]"`
}

// Groups are groups of lanes.
type Groups struct {
	Group []string `name:"group" help:"A name for several lanes of one provider, such as gpu=gpu1:2,gpu2, which requests give as their provider; the lane that can send a task first takes it. The number is its weight where several could at once. Repeated, in the variable separated by ';'." env:"REELAY_GROUPS" sep:";" placeholder:"NAME=LANE[:WEIGHT],LANE"`
}

// named returns the groups. Its error is a SettingError.
func (g Groups) named(r Resolved) ([]group.Group, error) {
	of := map[string]string{} // the provider by lane
	for _, p := range registry.All() {
		if r.Sandbox || r.Has(p) {
			of[p.Name] = p.Name
		}
	}
	for _, l := range r.Lanes {
		of[l.Name] = l.Provider
	}
	var all []group.Group
	for _, text := range g.Group {
		one, err := group.Parse(text)
		switch {
		case err != nil:
		case of[one.Name] != "" || one.Name == registry.Local || registry.Find(one.Name).Name != "":
			err = fmt.Errorf("%s: there is a lane or a provider of that name already", one.Name)
		case slices.ContainsFunc(all, func(o group.Group) bool { return o.Name == one.Name }):
			err = fmt.Errorf("%s: there is a group of that name already", one.Name)
		}
		for _, m := range one.Members {
			switch kind := of[m.Lane]; {
			case err != nil:
			case kind == "":
				err = fmt.Errorf("%s: there is no lane %q, or it has no key", one.Name, m.Lane)
			case kind != of[one.Members[0].Lane]:
				err = fmt.Errorf("%s: lane %s is of %s and %s is of %s; a group is of one provider", one.Name, one.Members[0].Lane,
					of[one.Members[0].Lane], m.Lane, kind)
			}
		}
		if err != nil {
			return nil, wrong("--group", "REELAY_GROUPS", err)
		}
		all = append(all, one)
	}
	return all, nil
}

// A Lane is one of them.
type Lane struct {
	Name     string
	Provider string
	// URL has no slash at its end; it is empty for an account at the provider's own.
	URL string
	// Key is empty for none, which a server of one's own may have, and in the sandbox.
	Key secret.Value
}

// KeyEnv is the variable of the lane's key; <name>_FILE names a file that holds it instead.
func (l Lane) KeyEnv() string { return variable(l.Name) + "_KEY" }

// CallbackKeyEnv is the variable of the secret that signs the lane's callbacks, where one does, as KeyEnv.
func (l Lane) CallbackKeyEnv() string { return variable(l.Name) + "_WEBHOOK_SECRET" }

// AccountSetting is the value of one of the registry's settings for another account, from <NAME>_ and what follows the
// provider's name in the setting's own variable; empty if it is not set.
func (l Lane) AccountSetting(s registry.Setting) string {
	return os.Getenv(variable(l.Name) + strings.TrimPrefix(s.Env, "REELAY_"+variable(l.Provider)))
}

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
		same := func(name string) bool { return variable(name) == variable(lane.Name) } // it would have the same key
		if err == nil && slices.ContainsFunc(taken, same) {
			err = fmt.Errorf("%s: there is a lane of that name already, whose key is %s", lane.Name, lane.KeyEnv())
		}
		if err != nil {
			return nil, LaneError(err)
		}
		taken = append(taken, lane.Name)
		all = append(all, lane)
	}
	return all, nil
}

// readKey reads the key of a lane. Without one, only a server of one's own will do.
func (l Lane) readKey() (secret.Value, error) {
	key, err := secret.LookupKey(l.KeyEnv())
	if err == nil && key.Empty() && !registry.Find(l.Provider).SelfHosted {
		err = LaneError(fmt.Errorf("%s: its key is missing: set %s, or %[2]s_FILE", l.Name, l.KeyEnv()))
	}
	return key, err
}

// parseLane reads NAME=PROVIDER, or NAME=PROVIDER:URL. It does not quote what may hold a password.
func parseLane(text string) (l Lane, err error) {
	name, of, named := strings.Cut(text, "=")
	kind, base, addressed := strings.Cut(of, ":")
	p := registry.Find(kind)
	switch {
	case !named || addressed && base == "" || p.SelfHosted && !addressed:
		return l, errors.New("a lane is NAME=PROVIDER:URL, such as gpu1=PROVIDER:http://10.0.0.5:8000 with one of " + selfHosted() +
			", or NAME=PROVIDER for another account")
	case !events.ValidToken(name):
		return l, fmt.Errorf("the name of a lane is 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	case p.Name == "":
		return l, fmt.Errorf("%s: %.40q is no provider; there are %s", name, kind, strings.Join(registry.Names(), ", "))
	}
	l = Lane{Name: name, Provider: kind, URL: strings.TrimRight(base, "/")}
	if env := l.KeyEnv(); isTaken(env) {
		return l, fmt.Errorf("%s: its key would be in %s, which is another's", name, env)
	}
	check := provider.CheckBaseURL
	if p.SelfHosted {
		check = provider.CheckPrivateBaseURL
	}
	if addressed {
		err = check(base)
	}
	if err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// isTaken reports whether a variable holds something else.
func isTaken(env string) bool {
	return strings.HasPrefix(env, "REELAY_") || slices.ContainsFunc(registry.All(), func(p registry.Provider) bool {
		return env == p.KeyEnv || env == p.CallbackKeyEnv || slices.Contains(p.KeyPair, env)
	})
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
