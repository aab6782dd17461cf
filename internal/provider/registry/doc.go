// Package registry holds what reelay knows of each provider without its driver: names, keys, addresses, settings,
// limits. The settings, the sandbox, the doctor, the prompt and the mains take from here what they need; no other
// package names a provider in its code.
//
// # How to add a provider
//
// <name> is the provider's, up to the first hyphen.
//
//   - internal/provider/<name>: the driver, which reads and writes the provider's wire format; internal/test/provider
//     holds what all drivers must do.
//   - internal/emulator/<name>: a server that behaves as the provider does, with a ledger of what was paid.
//   - internal/provider/registry/registry.go: its row in All.
//   - internal/lanes/open.go: its line in driver, and one in callbacks if the provider signs callbacks or tries their
//     URLs. A secret that signs them is read for it, see Provider.CallbackKeyEnv.
//   - internal/emulator/all/all.go: its line in open.
//   - internal/spend/price/prices.json: what its models cost, unless it is self-hosted.
//   - internal/want/wants.json: what its models can be told by a want.
//   - README.md: its key and settings.
//
// Beside its two folders those are six files, five for one that is self-hosted. One test knows of every
// provider, that of config its settings; go test ./internal/want -update writes what its models are told. The
// third provider, OpenAI's dialect, touched these and no others, beside what was built with it for all: --lane, and lanes
// that cost nothing.
//
// A test of package arch fails when a provider is named elsewhere; tests of lanes and of emulator/all fail when a row
// has no driver or no emulator.
package registry
