package config

import (
	"strings"

	"github.com/alecthomas/kong"

	"reelay/internal/provider/registry"
)

// A Setting is one setting of reelay's binaries, as `reelay help config` shows it.
type Setting struct {
	// Section says what the setting is about: "NATS", "Providers" and so on.
	Section string
	// Flag is the flag with its dashes; empty for a key, which no flag can give.
	Flag string
	// Env is the environment variable.
	Env string
	// Placeholder stands for the value: "DIR"; for a choice it lists what there is: "always|interval". It is empty for yes
	// or no.
	Placeholder string
	// Default is the value of a setting that is not given; empty for none.
	Default string
	Help    string
}

// Settings lists every setting that the binaries share, section by section. It reads the structs that Parse reads into,
// so that it cannot differ from what the binaries take. A binary has the sections that it needs, and may have flags of
// its own.
func Settings() ([]Setting, error) {
	all := struct {
		NATS      NATS      `embed:"" group:"NATS"`
		Broker    Broker    `embed:"" group:"Embedded broker"`
		Providers Providers `embed:"" group:"Providers"`
		Pipeline  Pipeline  `embed:"" group:"Tasks"`
		Webhook   Webhook   `embed:"" group:"Webhooks"`
		Artifacts Artifacts `embed:"" group:"Outputs"`
		MCP       MCP       `embed:"" group:"Agents (MCP)"`
		Console   Console   `embed:"" group:"Console"`
		Notify    Notify    `embed:"" group:"Webhooks to your services"`
		Guard     Guard     `embed:"" group:"Spending"`
		Ops       Ops       `embed:"" group:"Operations"`
		File      File      `embed:"" group:"Operations"`
	}{Providers: NewProviders(), Webhook: NewWebhook()}
	parser, err := kong.New(&all, append(options(), OpsListen("127.0.0.1:91xx"))...)
	if err != nil {
		return nil, err
	}
	var settings []Setting
	for _, flag := range parser.Model.Flags {
		if flag.Group == nil || len(flag.Envs) == 0 { // --help
			continue
		}
		s := Setting{
			Section: flag.Group.Title, Flag: "--" + flag.Name, Env: flag.Envs[0], Placeholder: flag.PlaceHolder,
			Default: flag.Default, Help: flag.Help,
		}
		if flag.Enum != "" {
			s.Placeholder = strings.ReplaceAll(flag.Enum, ",", "|")
		}
		settings = append(settings, s)
	}
	for _, p := range registry.All() {
		settings = append(settings,
			Setting{Section: "Keys", Env: p.KeyEnv, Placeholder: "KEY", Help: "API key of " + p.Name + fromFile})
		for _, half := range p.KeyPair {
			settings = append(settings, Setting{
				Section: "Keys", Env: half, Placeholder: "KEY",
				Help: "Half of the API key of " + p.Name + ", both instead of " + p.KeyEnv + fromFile,
			})
		}
		if p.CallbackKeyEnv != "" {
			settings = append(settings, Setting{
				Section: "Keys", Env: p.CallbackKeyEnv, Placeholder: "SECRET",
				Help: "Secret that signs the webhooks of " + p.Name + fromFile,
			})
		}
	}
	return append(settings, Setting{
		Section: "Keys", Env: EnvCallbackKey, Placeholder: "KEYS",
		Help: "Keys of callback URLs, new:<base64 of 32 bytes>,old:...: the first signs, all verify; the same for " +
			"submitters and webhook services" +
			fromFile,
	}, Setting{
		Section: "Keys", Env: EnvArtifactKey, Placeholder: "KEYS",
		Help: "Keys of links to stored files, in the same form; the same for archivers on several machines. One machine " +
			"makes its own" +
			fromFile,
	}), nil
}

const fromFile = "; the variable with _FILE at its end names a file that holds it."
