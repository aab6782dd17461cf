package config

import (
	"os"
	"path/filepath"
)

// Guard is what a person allows a process that spends, against the judgement of package storeguard.
type Guard struct {
	AcceptNewStore        bool   `help:"Spend although the broker's store is another one than before, or has forgotten records. For one start only, after a person has seen what was paid." env:"REELAY_ACCEPT_NEW_STORE"`
	EpochDir              string `help:"Directory in which a submitter remembers its store once more, apart from --store-dir: so a store that was put back from a copy is noticed. By default reelay in the user's state directory." env:"REELAY_EPOCH_DIR" placeholder:"DIR"`
	AllowUnsyncedSpending bool   `help:"Spend although a single broker acknowledges writes before they are on disk." env:"REELAY_ALLOW_UNSYNCED_SPENDING"`
}

// WithEpochDir returns g with the usual EpochDir where it has none: reelay in XDG_STATE_HOME, ~/.local/state where that is
// not set, and nowhere for a user without a home.
func (g Guard) WithEpochDir() Guard {
	if g.EpochDir != "" {
		return g
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return g
		}
		state = filepath.Join(home, ".local", "state")
	}
	g.EpochDir = filepath.Join(state, "reelay")
	return g
}
