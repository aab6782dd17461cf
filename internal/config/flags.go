package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"reelay/internal/provider"
	"reelay/internal/provider/registry"
)

// providerFlags returns a struct for kong that has a flag for each of the settings, in their order: the flags of a
// provider come from its row in the registry.
func providerFlags(settings []registry.Setting) kong.Plugins {
	fields := make([]reflect.StructField, len(settings))
	for i, s := range settings {
		tag := fmt.Sprintf(`name:%q help:%q env:%q default:%q placeholder:%q`, s.Flag, s.Help, s.Env, s.Default, s.Kind)
		if s.Default == "" {
			tag = strings.Replace(tag, ` default:""`, "", 1) // kong shows an empty default
		}
		fields[i] = reflect.StructField{
			Name: fmt.Sprint("Setting", i), Type: reflect.TypeFor[string](),
			Tag: reflect.StructTag(tag),
		}
	}
	return kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
}

// providerValues returns what flags of providerFlags(settings) were set to, by flag, without the slash at the end of a
// URL. Its error is a SettingError.
func providerValues(settings []registry.Setting, flags kong.Plugins) (map[string]string, error) {
	set := map[string]string{}
	if len(flags) == 0 {
		return set, nil // not made for a command line
	}
	values := reflect.ValueOf(flags[0]).Elem()
	for i, s := range settings {
		v := values.Field(i).String()
		if v == "" {
			continue
		}
		if s.Kind == registry.URL {
			check := provider.CheckBaseURL
			if s.Private {
				check = provider.CheckPrivateBaseURL
			}
			if err := check(v); err != nil {
				return nil, wrong("--"+s.Flag, s.Env, err)
			}
			v = strings.TrimRight(v, "/")
		}
		set[s.Flag] = v
	}
	return set, nil
}

// callerSettings and callbackSettings list the settings of all providers.
func callerSettings() (all []registry.Setting) {
	for _, p := range registry.All() {
		all = append(all, p.Settings...)
	}
	return all
}

func callbackSettings() (all []registry.Setting) {
	for _, p := range registry.All() {
		all = append(all, p.CallbackSettings...)
	}
	return all
}
