package console

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/smallfile"
)

// A Role is what a user may do.
type Role string

// The roles.
const (
	RoleRead Role = "read" // see everything
	RoleAct  Role = "act"  // and change it: submit, cancel, resolve, pause; it can cost money
)

const (
	// minTokenBytes and maxTokenBytes bound a token.
	minTokenBytes = 16
	maxTokenBytes = 512
	// maxUsers and maxUsersFile bound the file of users.
	maxUsers     = 1_000
	maxUsersFile = 1 << 20
	// sessionAge is how long somebody stays signed in.
	sessionAge = 12 * time.Hour
)

// A User is somebody who uses the console.
type User struct {
	Name string
	Role Role
	// digest is the SHA-256 of the token; it signs the user's sessions.
	digest [sha256.Size]byte
}

// local is whoever has the machine, where nobody has to sign in.
func local() User { return User{Name: "console", Role: RoleAct} }

// MayAct reports whether u may change anything.
func (u User) MayAct() bool { return u.Role == RoleAct }

// Users are those who may sign in. They hold digests of tokens alone.
type Users []User

// ReadUsers reads a file of users: a JSON list of {"token", "name", "role"}. A token has 16 to 512 bytes, and the role is
// read or act. Its errors hold no token.
func ReadUsers(file string) (Users, error) {
	text, err := smallfile.Read(file, maxUsersFile)
	if errors.Is(err, smallfile.ErrTooLarge) {
		return nil, fmt.Errorf("%s: %w", file, errUsers)
	}
	if err != nil {
		return nil, err
	}
	u, err := parseUsers(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return u, nil
}

// errUsers says that a file of users is no such list. What the JSON reader says is left out: it quotes the text.
var errUsers = errors.New(`is not a JSON list of {"token","name","role"} of at most 1 MiB`)

func parseUsers(text []byte) (all Users, err error) {
	var rows []struct {
		Token string `json:"token"`
		Name  string `json:"name"`
		Role  Role   `json:"role"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&rows); err != nil || decoder.More() || len(text) > maxUsersFile {
		return nil, errUsers
	}
	if len(rows) == 0 || len(rows) > maxUsers {
		return nil, fmt.Errorf("has %d users, want 1 to %d", len(rows), maxUsers)
	}
	for i, row := range rows {
		u := User{Name: row.Name, Role: row.Role, digest: sha256.Sum256([]byte(row.Token))}
		switch {
		case len(row.Token) < minTokenBytes || len(row.Token) > maxTokenBytes:
			return nil, fmt.Errorf("entry %d: token has not %d to %d bytes", i+1, minTokenBytes, maxTokenBytes)
		case !events.ValidToken(u.Name):
			return nil, fmt.Errorf("entry %d: name must be 1 to %d characters of A-Z a-z 0-9 _ -", i+1, events.MaxTokenBytes)
		case u.Role != RoleRead && u.Role != RoleAct:
			return nil, fmt.Errorf("entry %d: role %.80q is not read or act", i+1, u.Role)
		case slices.ContainsFunc(all, func(o User) bool { return o.Name == u.Name || o.digest == u.digest }):
			return nil, fmt.Errorf("entry %d: an entry before has its name or its token", i+1)
		}
		all = append(all, u)
	}
	return all, nil
}

// withToken returns the user of a token.
func (all Users) withToken(token string) (User, bool) {
	digest := sha256.Sum256([]byte(token))
	for _, u := range all {
		if hmac.Equal(u.digest[:], digest[:]) {
			return u, true
		}
	}
	return User{}, false
}

// session returns the value of a cookie that says, until it is sessionAge old, that u has signed in. Nothing of it is
// kept: any replica reads it, and it ends when the user's token is taken out of the file.
func (u User) session(now time.Time) string {
	until := strconv.FormatInt(now.Add(sessionAge).Unix(), 10)
	return u.Name + "." + until + "." + u.sign(until)
}

func (u User) sign(until string) string {
	mac := hmac.New(sha256.New, u.digest[:])
	fmt.Fprintf(mac, "console session of %s until %s", u.Name, until)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// withSession returns the user of a session that has not ended.
func (all Users) withSession(cookie string, now time.Time) (User, bool) {
	parts := strings.Split(cookie, ".")
	if len(parts) != 3 {
		return User{}, false
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || now.Unix() >= until {
		return User{}, false
	}
	for _, u := range all {
		if u.Name == parts[0] && hmac.Equal([]byte(u.sign(parts[1])), []byte(parts[2])) {
			return u, true
		}
	}
	return User{}, false
}
