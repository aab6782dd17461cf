package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/callbackurl"
	"reelay/internal/secret"
)

// ArchiverListen is where the archiver listens by default.
const ArchiverListen = "127.0.0.1:8092"

// EnvArtifactKey is the environment variable of the keys that sign links to files; <name>_FILE names a file that holds
// them instead. artifactKeyFile is the file of a key that a machine has made for itself.
const (
	EnvArtifactKey  = "REELAY_ARTIFACT_KEY"
	artifactKeyFile = "artifact.key"
)

const (
	// MinArtifactBytes and MaxArtifactBytes bound Artifacts.MaxBytes.
	MinArtifactBytes = 1 << 20
	MaxArtifactBytes = 1 << 40
)

// Artifacts is where the outputs of tasks are kept, and how they are handed out.
type Artifacts struct {
	Store      string   `name:"artifacts" help:"Store of the outputs of tasks: file:///path, nats://bucket?max_bytes=N, s3://bucket/prefix?region=NAME (endpoint=URL, use_path_style=true) or azblob://container/prefix; credentials as the SDKs read them (default in reelay up: a directory beside the broker's store; else nats://reelay_artifacts)." env:"REELAY_ARTIFACTS" placeholder:"URL"`
	InputsFrom []string `name:"inputs-from" help:"Buckets whose objects requests of any project may name as inputs: s3://bucket/prefix?region=NAME or azblob://container/prefix, comma separated, with parameters and credentials as for --artifacts. What is in no list is refused." env:"REELAY_INPUTS_FROM" sep:"," placeholder:"URLS"`
	// Listen is where the archiver hands out files.
	Listen string `name:"archiver-listen" help:"Address where the archiver hands out files." env:"REELAY_ARCHIVER_LISTEN" default:"${archiver_listen}" placeholder:"HOST:PORT"`
	// URL is how others reach that address.
	URL string `name:"artifact-url" help:"Base URL under which others reach the archiver; its address if not set." env:"REELAY_ARTIFACT_URL" placeholder:"URL"`
	// Hosts may be reached although their addresses are not public.
	Hosts string `name:"artifact-hosts" help:"Hosts that links of outputs may lead to although their addresses are not public, comma separated." env:"REELAY_ARTIFACT_HOSTS" placeholder:"HOSTS"`
	// MaxBytes bounds one output.
	MaxBytes int64 `name:"artifact-max-bytes" help:"Largest output that is stored, in bytes." env:"REELAY_ARTIFACT_MAX_BYTES" default:"4294967296" placeholder:"N"`
	// ProjectMaxBytes bounds what is stored for a project, Retention for how long.
	ProjectMaxBytes string `name:"artifact-project-bytes" help:"Most bytes of outputs that are stored for one project, 0 for no bound; other figures for single projects behind it: 0,demo=50000000000. What would pass it is not stored, and is an alarm." env:"REELAY_ARTIFACT_PROJECT_BYTES" default:"0" placeholder:"N[,PROJECT=N]"`
	Retention       string `name:"artifact-retention" help:"How long outputs are kept in the store after the result was known, 24h or more, 0 for ever; others for single projects behind it: 0,demo=720h." env:"REELAY_ARTIFACT_RETENTION" default:"0" placeholder:"TIME[,PROJECT=TIME]"`
}

// Validate checks every field but the store, which is checked when it is opened. Its error is a SettingError.
func (a Artifacts) Validate() error {
	if err := checkHostPort(a.Listen); err != nil {
		return wrong("--archiver-listen", "REELAY_ARCHIVER_LISTEN", err)
	}
	if u, err := url.Parse(a.URL); a.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return wrong("--artifact-url", "REELAY_ARTIFACT_URL", errors.New("it is not an http or https URL"))
	}
	if err := between(a.MaxBytes, MinArtifactBytes, MaxArtifactBytes); err != nil {
		return wrong("--artifact-max-bytes", "REELAY_ARTIFACT_MAX_BYTES", err)
	}
	if _, _, err := a.ProjectBytes(); err != nil {
		return err
	}
	_, _, err := a.Retentions()
	return err
}

// ProjectBytes returns the bound of ProjectMaxBytes, and those of single projects. Its error is a SettingError.
func (a Artifacts) ProjectBytes() (all int64, of map[string]int64, err error) {
	all, of, err = perProject(a.ProjectMaxBytes, func(text string) (int64, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%.40q is not a number of bytes", text)
		}
		return n, nil
	})
	return all, of, wrong("--artifact-project-bytes", "REELAY_ARTIFACT_PROJECT_BYTES", err)
}

// Retentions returns the time of Retention, and those of single projects. Its error is a SettingError.
func (a Artifacts) Retentions() (all time.Duration, of map[string]time.Duration, err error) {
	all, of, err = perProject(a.Retention, func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d != 0 && d < operator.MinArtifactAge {
			return 0, fmt.Errorf("%.40q is neither 0 nor a time of %v or more, such as 720h", text, operator.MinArtifactAge)
		}
		return d, nil
	})
	return all, of, wrong("--artifact-retention", "REELAY_ARTIFACT_RETENTION", err)
}

// perProject reads VALUE[,PROJECT=VALUE...].
func perProject[T any](text string, parse func(string) (T, error)) (all T, of map[string]T, err error) {
	of = map[string]T{}
	for i, part := range strings.Split(text, ",") {
		project, value, named := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case part == "" && i == 0: // none is the zero value
		case !named && i == 0:
			all, err = parse(project)
		case !events.ValidToken(project):
			err = fmt.Errorf("%.80q is not PROJECT=VALUE", part)
		default:
			of[project], err = parse(value)
		}
		if err != nil {
			return all, nil, err
		}
	}
	return all, of, nil
}

// HostList returns the hosts of Hosts.
func (a Artifacts) HostList() []string {
	return strings.FieldsFunc(a.Hosts, func(r rune) bool { return r == ',' || r == ' ' })
}

// LinkHosts returns the hosts of Hosts, and the archiver's own with its port.
func (a Artifacts) LinkHosts() []string {
	own := a.Listen
	if u, err := url.Parse(a.URL); a.URL != "" && err == nil {
		own = u.Host
		if u.Port() == "" {
			own = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		}
	}
	return append(a.HostList(), own)
}

// ArtifactKeys returns the keys that sign links: those of REELAY_ARTIFACT_KEY, or the one that this machine keeps in dir,
// which it makes if need be. Archivers on several machines need the variable. Its error names the setting and holds no
// key.
func ArtifactKeys(dir string) ([]secret.Value, error) {
	text, err := secret.Lookup(EnvArtifactKey)
	if err != nil {
		return nil, err
	}
	keys, err := callbackurl.Parse(text)
	if err == nil && len(keys) == 0 {
		keys, err = callbackurl.Kept(filepath.Join(dir, artifactKeyFile))
	}
	if err != nil {
		return nil, wrong("", EnvArtifactKey, err)
	}
	var secrets []secret.Value
	for _, k := range keys {
		secrets = append(secrets, k.Secret)
	}
	return secrets, nil
}

// BaseURL is how others reach the archiver that listens on address.
func (a Artifacts) BaseURL(address fmt.Stringer) string {
	if a.URL != "" {
		return strings.TrimRight(a.URL, "/")
	}
	return "http://" + address.String()
}
