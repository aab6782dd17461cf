// Package accounts makes an operator's folder: a nats-server configuration with an account for reelay and one for each
// tenant, the key of each user, and a context of the nats CLI for each. What each may do comes from package rights.
//
// Promises: keys are made once, are readable by the owner only, and stand in no file that a server or another user
// needs. A folder that has an installation is changed by name, never made anew.
package accounts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"reelay/events"
	"reelay/events/rights"
)

// The files of a folder, beside <user>.nk and <user>.json of each user.
const (
	stateFile  = "reelay-auth.json"
	ConfigFile = "nats-server.conf"
)

// Operator is the user with all rights in reelay's account.
const Operator = "operator"

// MaxTenants bounds the tenants of one folder.
const MaxTenants = 1_000

// Errors that a caller may match.
var (
	ErrExists  = errors.New("the folder has an installation already")
	ErrMissing = errors.New("the folder has no installation")
	ErrUnknown = errors.New("no such user")
)

// A Tenant is a project with a user of its own.
type Tenant struct {
	Project string      `json:"project"`
	Role    rights.Role `json:"role"`
}

// ParseTenant reads <project>[:<role>].
func ParseTenant(text string) (Tenant, error) {
	project, role, given := strings.Cut(text, ":")
	t := Tenant{project, rights.Role(role)}
	if !given {
		t.Role = rights.Tenant
	}
	switch {
	case !events.ValidToken(project) || slices.Contains(reserved(), project):
		return t, fmt.Errorf("tenant %q: a project has 1 to %d characters of A-Z a-z 0-9 _ -, and none of the names %v",
			project, events.MaxTokenBytes, reserved())
	case !slices.Contains(rights.Roles(), t.Role):
		return t, fmt.Errorf("tenant %q: the role %q is not one of %v", project, role, rights.Roles())
	}
	return t, nil
}

// reserved are the names of users that are no tenants.
func reserved() []string { return append([]string{Operator}, rights.Services()...) }

// A User is who connects.
type User struct {
	Name string `json:"name"`
	// Key is the public nkey.
	Key string `json:"key"`
	// Tenant is set for a tenant's user.
	Tenant *Tenant `json:"tenant,omitempty"`
}

// Server is where the server listens and keeps what is stored.
type Server struct {
	// Listen is host:port. URL is how the users reach it.
	Listen   string `json:"listen"`
	URL      string `json:"url"`
	StoreDir string `json:"store_dir"`
	// Cert, Key and CA are the server's files for TLS; none where Cert is empty. With Verify clients need certificates
	// as well.
	Cert   string `json:"cert,omitempty"`
	Key    string `json:"key,omitempty"`
	CA     string `json:"ca,omitempty"`
	Verify bool   `json:"verify,omitempty"`
}

// An Installation is what a folder is for.
type Installation struct {
	Server Server `json:"server"`
	Users  []User `json:"users"`
}

// Init makes a folder: users for the operator, each service and the tenants. It fails with ErrExists where there is an
// installation.
func Init(dir string, server Server, tenants []Tenant) error {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
		return fmt.Errorf("%w: %s", ErrExists, dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	i := Installation{Server: server}
	for _, name := range reserved() {
		if err := i.add(dir, User{Name: name}); err != nil {
			return err
		}
	}
	for _, t := range tenants {
		if err := i.add(dir, User{Name: t.Project, Tenant: &t}); err != nil {
			return err
		}
	}
	return i.write(dir)
}

// Add adds a tenant, or changes the role of one that there is.
func Add(dir string, t Tenant) error {
	i, err := Load(dir)
	if err != nil {
		return err
	}
	if n := i.find(t.Project); n >= 0 {
		i.Users[n].Tenant = &t
		return i.write(dir)
	}
	if err := i.add(dir, User{Name: t.Project, Tenant: &t}); err != nil {
		return err
	}
	return i.write(dir)
}

// Revoke takes a user out of the configuration and deletes its key. The name of a service or of the operator gets a new
// key instead. It fails with ErrUnknown.
func Revoke(dir, name string) error {
	i, err := Load(dir)
	if err != nil {
		return err
	}
	n := i.find(name)
	if n < 0 {
		return fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	u := i.Users[n]
	i.Users = slices.Delete(i.Users, n, n+1)
	for _, file := range []string{KeyFile(dir, name), ContextFile(dir, name)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if u.Tenant == nil {
		if err := i.add(dir, User{Name: name}); err != nil {
			return err
		}
	}
	return i.write(dir)
}

func (i *Installation) find(name string) int {
	return slices.IndexFunc(i.Users, func(u User) bool { return u.Name == name })
}

// KeyFile is that of a user's seed in a folder.
func KeyFile(dir, name string) string { return filepath.Join(dir, name+".nk") }

// ContextFile is that of a user's context in a folder.
func ContextFile(dir, name string) string { return filepath.Join(dir, name+".json") }

// add makes a user's key and context.
func (i *Installation) add(dir string, u User) error {
	switch {
	case i.find(u.Name) >= 0:
		return fmt.Errorf("tenant %q is named twice", u.Name)
	case len(i.Users) >= MaxTenants+len(reserved()):
		return fmt.Errorf("tenant %q: %d tenants are the limit", u.Name, MaxTenants)
	}
	path, err := filepath.Abs(KeyFile(dir, u.Name))
	if err != nil {
		return err
	}
	if u.Key, err = makeKey(path, create); err != nil {
		return err
	}
	context := Context{Description: "reelay: " + u.Name, URL: i.Server.URL, NKey: path, CA: i.Server.CA}
	if u.Tenant == nil {
		context.InboxPrefix = rights.InboxPrefix(u.Name)
	}
	text, err := json.MarshalIndent(context, "", "  ")
	if err != nil {
		return err
	}
	i.Users = append(i.Users, u)
	return create(ContextFile(dir, u.Name), append(text, '\n'))
}

// create writes a file for the owner only, which must not be there.
func create(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// Load reads what a folder is for. It fails with ErrMissing.
func Load(dir string) (i Installation, err error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return i, fmt.Errorf("%w: %s", ErrMissing, dir)
	}
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(text, &i); err != nil {
		return i, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return i, nil
}

// write writes the configuration and, when that is done, who there is.
func (i *Installation) write(dir string) error {
	text, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	config, err := i.Config()
	if err != nil {
		return err
	}
	return errors.Join(replace(filepath.Join(dir, ConfigFile), config), replace(filepath.Join(dir, stateFile), append(text, '\n')))
}

// replace writes a file beside an old one and puts it in its place.
func replace(path string, content []byte) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := create(fresh, content); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// waitThreshold is how long a server remembers whom an answer is for: longer than the longest wait.
const waitThreshold = events.MaxWait + events.MaxWait/5

// Config is the configuration of the server.
func (i *Installation) Config() ([]byte, error) {
	type account struct {
		Name, Comment, Key string
		Exports            []rights.Export
	}
	type service struct {
		User
		rights.Rights
	}
	view := struct {
		Server    Server
		Operator  User
		Services  []service
		Tenants   []account
		Threshold string
	}{Server: i.Server, Threshold: waitThreshold.String()}
	for _, u := range i.Users {
		switch {
		case u.Tenant != nil:
			view.Tenants = append(view.Tenants, account{
				Name: accountName(u.Tenant.Project), Comment: u.Tenant.Project + ": " + string(u.Tenant.Role), Key: u.Key,
				Exports: rights.Exports(u.Tenant.Project, u.Tenant.Role),
			})
		case u.Name == Operator:
			view.Operator = u
		default:
			view.Services = append(view.Services, service{u, rights.Of(u.Name)})
		}
	}
	var b bytes.Buffer
	err := configText.Execute(&b, view)
	return b.Bytes(), err
}

// accountName keeps a tenant's account apart from reelay's and the system's.
func accountName(project string) string { return "TENANT_" + project }

var configText = template.Must(template.New("").Funcs(template.FuncMap{
	"quote": func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` },
}).Parse(`# Written by "reelay auth". Change tenants by "reelay auth add" and "reelay auth revoke", then have the server read it
# anew: nats-server --signal reload
server_name: reelay
listen: {{quote .Server.Listen}}
max_payload: 8MB
{{- with .Server}}{{if .Cert}}
tls {
  cert_file: {{quote .Cert}}
  key_file: {{quote .Key}}{{if .CA}}
  ca_file: {{quote .CA}}{{end}}
  verify: {{.Verify}}
}{{end}}{{end}}
# Each record stands for money: acknowledged is synced.
jetstream { store_dir: {{quote .Server.StoreDir}}, sync_interval: always }
system_account: SYS
accounts {
  SYS {}
  REELAY {
    jetstream: enabled
    exports: [
{{- range $t := .Tenants}}{{range .Exports}}
      { {{if .Stream}}stream{{else}}service{{end}}: {{quote .Subject}}, accounts: [{{$t.Name}}]{{if not .Stream}}, threshold: {{quote $.Threshold}}{{end}} }
{{- end}}{{end}}
    ]
    users: [
      { nkey: {{.Operator.Key}} } # {{.Operator.Name}}
{{- range .Services}}
      { nkey: {{.Key}} # {{.Name}}
        permissions: {
          publish: [{{range .Publish}}
            {{quote .}}{{end}}
          ]
          subscribe: [{{range .Subscribe}}
            {{quote .}}{{end}}
          ]{{if .Answers}}
          allow_responses: { max: 1, expires: {{quote $.Threshold}} }{{end}}
        } }
{{- end}}
    ]
  }
{{- range .Tenants}}
  {{.Name}} { # {{.Comment}}
    users: [ { nkey: {{.Key}} } ]
    imports: [{{range .Exports}}
      { {{if .Stream}}stream{{else}}service{{end}}: { account: REELAY, subject: {{quote .Subject}} }{{if not .Stream}}, share: true{{end}} }{{end}}
    ]
  }
{{- end}}
}
`))
