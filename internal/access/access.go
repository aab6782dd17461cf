package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"reelay/events"
)

// A Role is what a principal may do.
type Role string

// The roles.
const (
	Read     Role = "read"     // see tasks, queues and models
	Generate Role = "generate" // have something made, and cancel it; it costs money
	Resolve  Role = "resolve"  // decide about a task of which nobody knows whether it was paid
)

// AnyProject stands for every project in a principal's list.
const AnyProject = "*"

// A Principal is somebody who may use the service, and as whom.
type Principal struct {
	Name string
	// Projects are those it may use; the first is meant where a call names none. "*" stands for every project.
	Projects []string
	Roles    []Role
}

// Local is the principal of whoever has the machine: of stdio, and of a loopback address without tokens. It does not
// resolve: who has the machine has the command for that.
func Local(project string) Principal {
	return Principal{Name: "local", Projects: []string{project, AnyProject}, Roles: []Role{Read, Generate}}
}

// May reports whether p may use a project.
func (p Principal) May(project string) bool {
	return events.ValidToken(project) && (slices.Contains(p.Projects, project) || slices.Contains(p.Projects, AnyProject))
}

// Has reports whether p has a role.
func (p Principal) Has(r Role) bool { return slices.Contains(p.Roles, r) }

// Names lists the projects of p for people.
func (p Principal) Names() string { return strings.Join(p.Projects, ", ") }

const (
	// minTokenBytes and maxTokenBytes bound a bearer token.
	minTokenBytes = 16
	maxTokenBytes = 512
	// maxTokens and maxTokenFile bound the file of tokens.
	maxTokens    = 10_000
	maxTokenFile = 4 << 20
)

// Tokens says whose a bearer token is. It holds digests alone.
type Tokens map[[sha256.Size]byte]Principal

// Find returns the principal of a token.
func (t Tokens) Find(token string) (Principal, bool) {
	p, ok := t[sha256.Sum256([]byte(token))]
	return p, ok
}

// ReadTokens reads a file of bearer tokens: a JSON list of {"token", "name", "projects", "roles"}. A token has 16 to 512
// bytes; entries of one name are one principal, with the same projects and roles. Its errors hold no token.
func ReadTokens(file string) (Tokens, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxTokenFile {
		return nil, fmt.Errorf("%s has more than %d bytes", file, maxTokenFile)
	}
	t, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// errTokens says that a file of tokens is no such list. What the JSON reader says is left out: it quotes the text.
var errTokens = errors.New(`is not a JSON list of {"token","name","projects","roles"}`)

func parseTokens(text []byte) (Tokens, error) {
	var rows []struct {
		Token    string   `json:"token"`
		Name     string   `json:"name"`
		Projects []string `json:"projects"`
		Roles    []Role   `json:"roles"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&rows); err != nil || decoder.More() {
		return nil, errTokens
	}
	if len(rows) == 0 || len(rows) > maxTokens {
		return nil, fmt.Errorf("has %d tokens, want 1 to %d", len(rows), maxTokens)
	}
	all, known := Tokens{}, map[string]Principal{}
	for i, row := range rows {
		p := Principal{Name: row.Name, Projects: row.Projects, Roles: row.Roles}
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		sum := sha256.Sum256([]byte(row.Token))
		_, twice := all[sum]
		switch {
		case len(row.Token) < minTokenBytes || len(row.Token) > maxTokenBytes:
			return nil, fmt.Errorf("entry %d: token has not %d to %d bytes", i+1, minTokenBytes, maxTokenBytes)
		case twice:
			return nil, fmt.Errorf("entry %d: the token is that of an entry before", i+1)
		case !p.same(known[p.Name]):
			return nil, fmt.Errorf("entry %d: %s has other projects or roles in an entry before", i+1, p.Name)
		}
		all[sum], known[p.Name] = p, p
	}
	return all, nil
}

// same reports whether an entry before, if there is one, says the same of p.
func (p Principal) same(before Principal) bool {
	return before.Name == "" || slices.Equal(before.Projects, p.Projects) && slices.Equal(before.Roles, p.Roles)
}

func (p Principal) check() error {
	switch {
	case !events.ValidToken(p.Name):
		return fmt.Errorf("name must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	case len(p.Projects) == 0 || p.Projects[0] == AnyProject:
		return errors.New("projects must begin with the project that is meant where a call names none")
	case len(p.Roles) == 0:
		return errors.New("roles is empty")
	}
	for _, project := range p.Projects {
		if project != AnyProject && !events.ValidToken(project) {
			return fmt.Errorf("project %.80q must be 1 to %d characters of A-Z a-z 0-9 _ -", project, events.MaxTokenBytes)
		}
	}
	for _, r := range p.Roles {
		if r != Read && r != Generate && r != Resolve {
			return fmt.Errorf("role %.80q is not read, generate or resolve", r)
		}
	}
	return nil
}
