package accounts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"reelay/internal/address"
)

// The contexts that the embedded brokers of a machine save for the nats CLI, and for reelay's own programs.
const (
	// LiveContext is that of `reelay up` with real providers.
	LiveContext = "reelay-live"
	// BrokerContext is that of natsd.
	BrokerContext = "reelay-natsd"
)

const (
	// brokerKey and brokerContext are the files in the store of an embedded broker.
	brokerKey     = "broker.nk"
	brokerContext = "broker.json"
)

// ErrReadable says that a key can be read by others than its owner.
var ErrReadable = errors.New("others than its owner can read the file")

// A Context is how programs reach a server, in the form of the nats CLI.
type Context struct {
	Description string `json:"description"`
	URL         string `json:"url"`
	// NKey is the file of the user's seed.
	NKey string `json:"nkey"`
	// CA is the file of those who sign the server's certificate; empty for those of the machine.
	CA string `json:"ca,omitempty"`
	// InboxPrefix is that of the subjects for answers; empty for the usual one.
	InboxPrefix string `json:"inbox_prefix,omitempty"`
}

// KeptKey returns the file of the key of an embedded broker in its store. A file that is not there, or is empty, is made,
// for nobody but its owner to read. One that its group can read, as Kubernetes makes all files of a volume, becomes its
// owner's alone again where that can be. It fails with ErrReadable for one that everybody can read.
func KeptKey(store string, log *slog.Logger) (string, error) {
	file, err := filepath.Abs(filepath.Join(store, brokerKey))
	if err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		if err := keepKey(file); err != nil {
			return "", fmt.Errorf("key of the broker: %w", err)
		}
		info, err = os.Stat(file)
	}
	if err != nil {
		return "", err
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o007 != 0:
		return "", fmt.Errorf("%w: %s; make a new key if they may have, else: chmod 600 %[2]s", ErrReadable, file)
	case mode&0o070 != 0:
		if err := os.Chmod(file, 0o600); err != nil {
			log.Warn("the group of the broker's key can read it, and that cannot be changed", "file", file, "error", err)
		}
	}
	return file, nil
}

// keepKey makes a key, whole or not at all.
func keepKey(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	_, err := makeKey(file, replace)
	return err
}

// makeKey writes the seed of a new nkey into a file, by create or replace, and returns the public key.
func makeKey(file string, write func(path string, content []byte) error) (public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return "", err
	}
	if public, err = pair.PublicKey(); err != nil {
		return "", err
	}
	return public, write(file, append(seed, '\n'))
}

// answersWithin is how long the broker of a saved context has to take a connection.
const answersWithin = time.Second

// SaveContext writes the context of an embedded broker into its store, and under a name where the nats CLI finds it; with
// its port behind the name where another broker that still answers has that. It
// returns what the CLI's --context takes: the name, or the file in the store if the other cannot be written, with why.
func SaveContext(store, name string, c Context) (as string, err error) {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return "", err
	}
	file, err := filepath.Abs(filepath.Join(store, brokerContext))
	if err != nil {
		return "", err
	}
	if err := replace(file, append(text, '\n')); err != nil {
		return "", err
	}
	saved, err := contextPath(name)
	if other, at, ok := readContext(saved); err == nil && ok && other.NKey != c.NKey {
		own, parseErr := url.Parse(c.URL)
		if parseErr == nil && !isSame(own, at) && answers(at) {
			name += "-" + port(own)
			saved, err = contextPath(name)
		}
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(saved), 0o700)
	}
	if err == nil {
		err = replace(saved, append(text, '\n'))
	}
	if err != nil {
		return file, fmt.Errorf("context %s: %w", name, err)
	}
	return name, nil
}

// answers reports whether anybody takes connections at a URL.
func answers(at *url.URL) bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(at.Hostname(), port(at)), answersWithin)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// FindContext returns the saved context of an embedded broker of this machine at a server's URL, with its key at hand.
func FindContext(server string) (Context, bool) {
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	asked, err := url.Parse(strings.TrimSpace(server))
	if err != nil || asked.User != nil {
		return Context{}, false
	}
	for _, name := range []string{LiveContext, BrokerContext} {
		for _, name := range []string{name, name + "-" + port(asked)} {
			path, err := contextPath(name)
			if err != nil {
				continue
			}
			if c, at, ok := readContext(path); ok && isSame(asked, at) {
				return c, true
			}
		}
	}
	return Context{}, false
}

// readContext returns a saved context and its URL; false where it is none, or its key is gone.
func readContext(path string) (c Context, at *url.URL, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &c) != nil || c.NKey == "" {
		return c, nil, false
	}
	if _, err := os.Stat(c.NKey); err != nil {
		return c, nil, false // its store is gone
	}
	at, err = url.Parse(c.URL)
	return c, at, err == nil
}

// isSame reports whether two URLs are those of one server.
func isSame(a, b *url.URL) bool {
	if port(a) != port(b) {
		return false
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) || address.IsLoopback(a.Hostname()) && address.IsLoopback(b.Hostname())
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "4222"
}

// contextPath is where the nats CLI has a context.
func contextPath(name string) (string, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		u, err := user.Current()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(u.HomeDir, ".config")
	}
	return filepath.Join(dir, "nats", "context", name+".json"), nil
}
