package config

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"reelay/internal/address"
)

// ConsoleListen is where the console listens by default.
const ConsoleListen = "127.0.0.1:8080"

// consoleUsersFile is the file of the one user that a machine has made for itself.
const consoleUsersFile = "console-users.json"

// Console is how people reach the console, and who they are.
type Console struct {
	ConsoleListen string `name:"console-listen" help:"Address of the console for people, HTTP." env:"REELAY_CONSOLE_LISTEN" default:"${console_listen}" placeholder:"HOST:PORT"`
	// ConsoleUsers is a file as services/console reads it. Without it everybody who reaches the address is let in, so that
	// it must be a loopback address, and of a sandbox.
	ConsoleUsers string `name:"console-users" help:"File of the users of the console: [{\"token\",\"name\",\"role\":\"read\" or \"act\"}]; none only in a sandbox at a loopback address." env:"REELAY_CONSOLE_USERS" placeholder:"FILE"`
}

// Validate checks every field. Its error is a SettingError.
func (c Console) Validate() error {
	if err := checkHostPort(c.ConsoleListen); err != nil {
		return wrong("--console-listen", "REELAY_CONSOLE_LISTEN", err)
	}
	if c.ConsoleUsers == "" {
		if !address.IsLocal(c.ConsoleListen) {
			return wrong("--console-users", "REELAY_CONSOLE_USERS",
				errors.New("must be set: "+c.ConsoleListen+" is not a loopback address"))
		}
		return nil
	}
	_, err := os.Stat(c.ConsoleUsers)
	return wrong("--console-users", "REELAY_CONSOLE_USERS", err)
}

// KeptConsoleUsers returns a file of one user of the console with a token of its own, in a directory. It makes the file
// if need be; only its owner can read it.
func KeptConsoleUsers(dir string) (string, error) {
	file := filepath.Join(dir, consoleUsersFile)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	text, err := json.Marshal([]map[string]string{{"name": "operator", "role": "act", "token": rand.Text()}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, append(text, '\n'), 0o600)); err != nil {
		return "", fmt.Errorf("token of the console: %w", err)
	}
	return file, nil
}
