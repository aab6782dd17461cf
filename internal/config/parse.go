package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"reelay/internal/provider/registry"
	"reelay/internal/version"

	"github.com/alecthomas/kong"
)

// ErrHelp says that --help or --version was asked for and has been printed.
var ErrHelp = errors.New("help was printed")

// ExitUsage is the exit code of a command that was called with wrong settings.
const ExitUsage = 2

// Parse reads flags, environment and the file of --config into cli, a pointer to a struct for kong, and checks them. --help prints the usage,
// --version the version, and both give ErrHelp. An error about a setting names its flag and its variable.
func Parse(args []string, cli any, name, description string, own ...kong.Option) (*kong.Context, error) {
	helped := false
	file, err := readFile(args)
	if err != nil {
		return nil, err
	}
	parser, err := newParser(cli, name, description, slices.Concat([]kong.Option{
		kong.Exit(func(int) { helped = true }),
	}, file, own)...)
	if err != nil {
		return nil, err
	}
	forgetEmpty(parser.Model.Node)
	ctx, err := parser.Parse(args)
	if helped {
		return nil, ErrHelp
	}
	if err != nil {
		if e := named(parser.Model.Node, err); e != nil {
			return nil, e
		}
		return nil, err
	}
	return ctx, nil
}

// Grammar returns the commands and flags of cli, a pointer to a struct for kong, with those that every binary has.
func Grammar(cli any, name, description string) (*kong.Application, error) {
	parser, err := newParser(cli, name, description)
	if err != nil {
		return nil, err
	}
	return parser.Model, nil
}

func newParser(cli any, name, description string, own ...kong.Option) (*kong.Kong, error) {
	parser, err := kong.New(cli, slices.Concat(options(), []kong.Option{
		kong.Name(name), kong.Description(description),
		OpsListen(""),
		kong.Embed(&versionFlag{}), kong.Embed(&File{}),
		kong.Vars{"version": version.Get().Version},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	}, own)...)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", name, err)
	}
	return parser, nil
}

// versionFlag is a flag that every binary has.
type versionFlag struct {
	Version kong.VersionFlag `help:"Print the version and exit."`
}

// options are what the tags of this package's structs refer to.
func options() []kong.Option {
	return []kong.Option{kong.Vars{
		"nats_server": DefaultServer, "webhook_listen": WebhookListen, "mcp_listen": MCPListen,
		"console_listen":  ConsoleListen,
		"archiver_listen": ArchiverListen,
		"self_hosted":     selfHosted(),
		"providers":       strings.Join(registry.Names(), ", "),
	}}
}

// Report prints an error of Parse to w and returns the exit code: 0 for ErrHelp, else ExitUsage.
func Report(w io.Writer, name string, err error) int {
	if errors.Is(err, ErrHelp) {
		return 0
	}
	fmt.Fprintf(w, "%s: %v\n%s: see %s --help\n", name, err, name, name)
	return ExitUsage
}

// forgetEmpty makes an empty environment variable the same as an unset one, as launchers often set all they know of.
func forgetEmpty(node *kong.Node) {
	for _, flag := range node.Flags {
		// On a copy: flag.Envs shares the array, and errors take the variable's name from there.
		flag.Tag.Envs = slices.DeleteFunc(slices.Clone(flag.Tag.Envs), func(name string) bool {
			v, ok := os.LookupEnv(name)
			return ok && v == ""
		})
	}
	for _, child := range node.Children {
		forgetEmpty(child)
	}
}

// named makes a SettingError of an error in which kong names only the flag or only the variable of a setting; nil if it
// names none.
func named(node *kong.Node, err error) *SettingError {
	var known *SettingError
	if errors.As(err, &known) {
		return known // without what kong puts before it
	}
	for _, flag := range node.Flags {
		if len(flag.Envs) == 0 {
			continue
		}
		dashed, text := "--"+flag.Name, err.Error()
		rest, isFlag := strings.CutPrefix(text, dashed)
		if isFlag = isFlag && strings.IndexAny(rest, ":= ") == 0; isFlag ||
			strings.Contains(text, "envar "+flag.Envs[0]+"=") {
			return &SettingError{Flag: dashed, Env: flag.Envs[0], Err: errors.New(strings.TrimPrefix(text, dashed+": "))}
		}
	}
	for _, child := range node.Children {
		if e := named(child, err); e != nil {
			return e
		}
	}
	return nil
}
