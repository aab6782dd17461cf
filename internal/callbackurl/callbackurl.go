// Package callbackurl makes and checks the URLs at which providers call back. Such a URL names the lane, the task and
// the paid attempt it was made for, and until when it counts, and carries a MAC over the four: for a provider that signs nothing it is the
// authentication, for one that does it is a second one. Whoever holds the URL may claim something about that one
// attempt, and about nothing else.
package callbackurl

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/secret"
)

const (
	// KeyBytes is the length of a key.
	KeyBytes = 32

	// prefix begins the path of every callback.
	prefix = "/cb/"
	// domain keeps a MAC of ours from meaning anything where the same key is used for something else.
	domain = "reelay callback 2"
	// maxAttempt bounds the number of an attempt far above what a task may have.
	maxAttempt = 1_000_000
	// maxMinutes bounds the time until which a URL counts: the year 3871.
	maxMinutes = 1_000_000_000
)

// A Key signs and verifies callback URLs.
type Key struct {
	// ID stands in callback URLs and says which key signed. It is a valid token of package events.
	ID string
	// Secret holds KeyBytes raw bytes.
	Secret secret.Value
}

// Keys are the keys in use: the first signs, all verify, so that a key can be replaced while URLs of the former one are
// still out. The zero Keys signs nothing and verifies nothing. It is safe for concurrent use.
type Keys struct{ keys []Key }

// New returns the keys in that order. One without a valid id or without exactly KeyBytes of secret is left out.
func New(keys []Key) Keys {
	var k Keys
	for _, key := range keys {
		if events.ValidToken(key.ID) && len(key.Secret.Reveal()) == KeyBytes {
			k.keys = append(k.keys, key)
		}
	}
	return k
}

// Empty reports whether there is no key.
func (k Keys) Empty() bool { return len(k.keys) == 0 }

// A Target is what a callback URL was made for.
type Target struct {
	Lane string
	Key  events.Key
	// Attempt is the paid attempt, from 1.
	Attempt int
	// Minutes is until when a callback counts, in minutes of Unix time.
	Minutes int64
}

// Expired reports whether it is too late for a callback.
func (t Target) Expired(now time.Time) bool { return now.Unix() > t.Minutes*60 }

// URL returns the callback URL of an attempt, from 1, below the public base URL, which has no slash at the end. It counts
// until a time, in whole minutes. It is empty without a key.
func (k Keys) URL(public, lane string, task events.Key, attempt int, until time.Time) string {
	if k.Empty() {
		return ""
	}
	t := Target{Lane: lane, Key: task, Attempt: attempt, Minutes: (until.Unix() + 59) / 60}
	return public + prefix + lane + "/" + k.keys[0].ID + "/" + t.name() + "/" + t.mac(k.keys[0].Secret)
}

// URLs makes callback URLs below one public base URL.
type URLs struct {
	// Public is the base URL without a slash at the end.
	Public string
	Keys   Keys
}

// CallbackURL is Keys.URL below the base URL; empty without a key or a base URL.
func (u URLs) CallbackURL(lane string, task events.Key, attempt int, until time.Time) string {
	if u.Public == "" {
		return ""
	}
	return u.Keys.URL(u.Public, lane, task, attempt, until)
}

// Verify reads the path of a callback as it was sent, nothing unescaped, and without what the public URL has before it.
// It reports false for everything that URL has not made with one of the keys, and never why; of one that has expired the
// target says so. How long it takes says
// nothing about the right MAC or about which keys there are.
func (k Keys) Verify(path string) (Target, bool) {
	t, id, mac, ok := parse(path)
	if !ok {
		return Target{}, false
	}
	match := 0
	for _, key := range k.keys {
		match |= subtle.ConstantTimeCompare([]byte(id), []byte(key.ID)) &
			subtle.ConstantTimeCompare([]byte(mac), []byte(t.mac(key.Secret)))
	}
	if match != 1 {
		return Target{}, false
	}
	return t, true
}

// parse takes a path apart and accepts each part in the one form that URL writes.
func parse(path string) (t Target, id, mac string, ok bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	parts := strings.SplitN(rest, "/", 5)
	if !ok || len(parts) != 4 {
		return Target{}, "", "", false
	}
	name := strings.SplitN(parts[2], ".", 5)
	if len(name) != 4 {
		return Target{}, "", "", false
	}
	t = Target{Lane: parts[0], Key: events.Key{Project: name[0], ID: name[1]}}
	t.Attempt, _ = strconv.Atoi(name[2])
	t.Minutes, _ = strconv.ParseInt(name[3], 10, 64)
	ok = events.ValidToken(t.Lane) && t.Key.Valid() && t.Attempt >= 1 && t.Attempt <= maxAttempt &&
		t.Minutes >= 0 && t.Minutes <= maxMinutes && t.name() == parts[2]
	return t, parts[1], parts[3], ok
}

// name returns <project>.<task>.<attempt>.<minutes>.
func (t Target) name() string {
	return t.Key.String() + "." + strconv.Itoa(t.Attempt) + "." + strconv.FormatInt(t.Minutes, 10)
}

// mac returns the MAC as it stands in the URL. Each field goes in behind its length, so that no two targets have the
// same bytes.
func (t Target) mac(key secret.Value) string {
	h := hmac.New(sha256.New, []byte(key.Reveal()))
	for _, field := range []string{
		domain, t.Lane, t.Key.Project, t.Key.ID, strconv.Itoa(t.Attempt), strconv.FormatInt(t.Minutes, 10),
	} {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(field))))
		_, _ = h.Write([]byte(field))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
