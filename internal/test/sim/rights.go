package sim

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"reelay/events/rights"
	"reelay/internal/accounts"
)

var allRights = flag.Bool("sim.rights", false, "every world has a broker that gives each service no more than its rights")

// Rights are a broker's that asks who connects, as `reelay auth init` makes them.
type Rights struct {
	dir string

	mu     sync.Mutex
	denied []string
}

// NewRights makes rights for the services, the operator and some tenants, below a directory of the test.
func NewRights(t *testing.T, tenants ...accounts.Tenant) *Rights {
	t.Helper()
	r := &Rights{dir: filepath.Join(t.TempDir(), "auth")}
	if err := accounts.Init(r.dir, accounts.Server{Listen: "127.0.0.1:4222", StoreDir: r.dir}, tenants); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Rights) config() string {
	if r == nil {
		return ""
	}
	return filepath.Join(r.dir, accounts.ConfigFile)
}

// Credentials are what a service, a tenant or the operator connects with; nothing where the broker does not ask.
func (r *Rights) Credentials(name string) []nats.Option {
	if r == nil {
		return nil
	}
	user, _, _ := strings.Cut(name, "-")
	options := []nats.Option{nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if text := name + ": " + err.Error(); strings.Contains(text, "ermission") && !slices.Contains(r.denied, text) {
			r.denied = append(r.denied, text)
		}
	})}
	if slices.Contains(rights.Services(), user) {
		options = append(options, nats.CustomInboxPrefix(rights.InboxPrefix(user)))
	}
	key, err := nats.NkeyOptionFromSeed(filepath.Join(r.dir, user+".nk"))
	if err != nil {
		panic(err) // nobody has made such a user
	}
	return append(options, key)
}

// Key is the public key of a user.
func (r *Rights) Key(user string) string {
	seed, err := os.ReadFile(filepath.Join(r.dir, user+".nk"))
	if err != nil {
		panic(err) // nobody has made such a user
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		panic(err)
	}
	key, err := pair.PublicKey()
	if err != nil {
		panic(err)
	}
	return key
}

// Check fails the test where anything was denied to anybody.
func (r *Rights) Check(t testing.TB) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.denied {
		t.Error(text)
	}
}
