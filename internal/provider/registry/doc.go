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
//   - internal/want/wants.json: what its models can be told by a want, unless no two of them are told alike.
//   - README.md: its key and settings.
//
// Package jsonapi is for those whose answers are JSON. Beside its two folders those are six files, five for one that is
// self-hosted, four for ComfyUI, whose input is a graph. One test knows of every provider, that of config its settings; go
// test ./internal/want -update writes what its models are told.
//
// So many did the last two touch, git show --stat tells: Replicate the six, and what was built with it for all, which is
// jsonapi, and secrets that sign callbacks; ComfyUI the four, a library of its own in go.mod and in the test of package arch
// that says what drivers may import, and there that it has no wants.
//
// A test of package arch fails when a provider is named elsewhere; tests of lanes and of emulator/all fail when a row
// has no driver or no emulator.
package registry
