package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"reelay/internal/smallfile"
)

// File names a file of settings.
type File struct {
	Config string `help:"File of settings in YAML, each under the name of its flag. A flag wins over a variable, and that over the file." env:"REELAY_CONFIG" placeholder:"FILE"`
}

// maxFileBytes bounds the file of settings.
const maxFileBytes = 1 << 20

var (
	errUnknownSetting = errors.New("there is no such setting; `reelay help config` lists all, and keys come from variables or files of their own")
	errOnce           = errors.New("it is for one start only: give it as a flag or a variable")
)

// fileOf returns the file that the arguments name, or else the environment: before anything is parsed, as kong asks no
// file that only a variable names.
func fileOf(args []string) string {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if path, ok := strings.CutPrefix(arg, "--config="); ok {
			return path
		}
		if arg == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("REELAY_CONFIG")
}

// readFile returns the settings of the file that is named; nothing if none is. Its error is a SettingError.
func readFile(args []string) ([]kong.Option, error) {
	path := fileOf(args)
	if path == "" {
		return nil, nil
	}
	text, err := smallfile.Read(path, maxFileBytes)
	values := fileSettings{}
	if err == nil {
		err = yaml.Unmarshal(text, &values.given)
	}
	if err == nil {
		values.known, err = Settings()
	}
	if err != nil {
		return nil, wrong("--config", "REELAY_CONFIG", err)
	}
	return []kong.Option{kong.Resolvers(values)}, nil
}

// fileSettings are values by the name of their flag, and the settings that there are.
type fileSettings struct {
	given map[string]any
	known []Setting
}

// setting returns the setting of a flag. A flag of a single command is none, such as what a cancel is about.
func (f fileSettings) setting(name string) (Setting, bool) {
	i := slices.IndexFunc(f.known, func(s Setting) bool { return s.Flag == "--"+name })
	if i < 0 {
		return Setting{}, false
	}
	return f.known[i], true
}

// Validate refuses what is no setting of any binary, as one file may serve them all, and what is a person's word for one
// start.
func (f fileSettings) Validate(*kong.Application) error {
	for _, name := range slices.Sorted(maps.Keys(f.given)) {
		s, ok := f.setting(name)
		switch {
		case !ok:
			return wrong("--config", "REELAY_CONFIG", fmt.Errorf("%s: %w", name, errUnknownSetting))
		case s.Env == "REELAY_ACCEPT_NEW_STORE", s.Env == "REELAY_CONFIG":
			return wrong("--config", "REELAY_CONFIG", fmt.Errorf("%s: %w", name, errOnce))
		}
	}
	return nil
}

// Resolve returns the value of a setting that no variable sets.
func (f fileSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if s, ok := f.setting(flag.Name); !ok || !slices.Contains(flag.Envs, s.Env) {
		return nil, nil // a command has a flag of that name that is about something else
	}
	for _, name := range flag.Tag.Envs {
		if os.Getenv(name) != "" {
			return nil, nil
		}
	}
	return f.given[flag.Name], nil
}
