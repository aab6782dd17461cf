// Package version says which build of reelay this is, by what the go command has put into the binary.
package version

import "runtime/debug"

// A Build identifies a build. Its fields are empty where the go command has not recorded them, as in tests.
type Build struct {
	// Version is the module's: v1.2.3, v0.0.0-<time>-<commit> for a build of a commit, "(devel)" where the go command saw
	// no repository.
	Version string
	// Revision is the commit that was built, with "+dirty" after it if files differed from it.
	Revision string
	// Go is the version of the Go toolchain.
	Go string
}

// Get returns the running build.
func Get() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: "(devel)"}
	}
	return of(info)
}

// String is the version alone.
func (b Build) String() string { return b.Version }

func of(info *debug.BuildInfo) Build {
	b := Build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	b.Revision = settings["vcs.revision"]
	if settings["vcs.modified"] == "true" {
		b.Revision += "+dirty"
	}
	return b
}
