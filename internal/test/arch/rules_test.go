package arch

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"reelay/internal/provider/registry"
)

const (
	eventsPkg        = "reelay/events"
	rightsPkg        = "reelay/events/rights"
	clientPkg        = "reelay/events/client"
	bucketPkg        = "reelay/events/bucket"
	operatorPkg      = "reelay/events/operator"
	valuesPkg        = "reelay/internal/provider"
	registryPkg      = "reelay/internal/provider/registry"
	jsonapiPkg       = "reelay/internal/provider/jsonapi"
	services         = "reelay/services/..."
	emulators        = "reelay/internal/emulator/..."
	localPkg         = "reelay/internal/provider/local"
	ffmpegPkg        = "reelay/internal/ffmpeg"
	lanesPkg         = "reelay/internal/lanes"
	allEmulators     = "reelay/internal/emulator/all"
	emulator         = "reelay/internal/emulator"
	natsServer       = "github.com/nats-io/nats-server/v2/..."
	failsafe         = "github.com/failsafe-go/failsafe-go"
	nats             = "github.com/nats-io/nats.go"
	prometheus       = "github.com/prometheus/client_golang/prometheus"
	busPkg           = "reelay/internal/bus"
	layoutPkg        = "reelay/internal/layout"
	addressPkg       = "reelay/internal/address"
	tracePkg         = "reelay/internal/trace"
	otel             = "go.opentelemetry.io/otel"
	standardWebhooks = "github.com/standard-webhooks/standard-webhooks/libraries/go"
	brotli           = "github.com/andybalholm/brotli"
)

// drivers and emulated are the packages of the providers.
var (
	drivers  = each("reelay/internal/provider/")
	emulated = each("reelay/internal/emulator/")
)

// each returns prefix and folder of every provider.
func each(prefix string) (all []string) {
	for _, name := range registry.Names() {
		all = append(all, prefix+folder(name))
	}
	return all
}

// TestImports says of packages what alone they may import beside the standard library.
func TestImports(t *testing.T) {
	rows := []struct {
		of   []string
		only []string
		why  string
	}{
		{[]string{eventsPkg}, nil, "clients import the contract; it brings nothing along"},
		{[]string{bucketPkg}, []string{eventsPkg}, "it is a part of the contract"},
		{[]string{operatorPkg}, []string{eventsPkg, bucketPkg}, "it is a part of the contract"},
		{[]string{rightsPkg}, []string{eventsPkg, bucketPkg, operatorPkg}, "it is a part of the contract"},
		{
			[]string{"reelay/internal/accounts"},
			[]string{eventsPkg, rightsPkg, addressPkg, "github.com/nats-io/nkeys"},
			"what makes keys is small enough to be read in one go",
		},
		{[]string{clientPkg}, []string{
			eventsPkg, bucketPkg, operatorPkg, "github.com/nats-io/nats.go",
			"github.com/nats-io/nats.go/...",
		}, "what a program needs beside the contract is a NATS connection"},
		{
			[]string{"reelay/internal/media"},
			[]string{addressPkg, "github.com/gabriel-vasile/mimetype", "golang.org/x/image/webp"},
			"what fetches files knows no task and no provider, so that any program may use it",
		},
		{
			[]string{"reelay/internal/artifact"},
			[]string{
				eventsPkg, bucketPkg, "reelay/internal/chunk", "reelay/internal/media", "reelay/internal/objects", nats + "/jetstream",
			},
			"a store knows files by their sum, and no task; heavy drivers are linked by what opens stores alone",
		},
		{
			[]string{"reelay/internal/segment"},
			[]string{eventsPkg, ffmpegPkg, registryPkg},
			"a segment is plain requests, which any client could publish",
		},
		{[]string{"reelay/internal/retry"}, []string{eventsPkg, busPkg}, "what guards money is small enough to be read in one go"},
		{[]string{"reelay/internal/describe"}, []string{eventsPkg}, "words for people follow from a record alone"},
		{[]string{"reelay/internal/approval"}, []string{"reelay/internal/secret"}, "what guards money is small enough to be read in one go"},
		{[]string{"reelay/internal/access"}, []string{eventsPkg}, "what tokens are checked against is small enough to be read in one go"},
		{
			[]string{"reelay/internal/mcpwire"},
			[]string{
				"github.com/modelcontextprotocol/go-sdk/...", "github.com/google/jsonschema-go/jsonschema", "golang.org/x/time/rate",
			},
			"what carries the protocol knows nothing of tasks, so that the official suite judges it with tools of its own",
		},
		{[]string{addressPkg}, []string{"code.dny.dev/ssrf"}, "what guards the network of the machine is small enough to be read in one go"},
		{[]string{"reelay/internal/secret"}, nil, "what holds keys is small enough to be read in one go"},
		{
			[]string{"reelay/internal/callbackurl"},
			[]string{eventsPkg, "reelay/internal/secret"},
			"what a stranger's path is checked against is small enough to be read in one go",
		},
		{[]string{"reelay/internal/group"}, []string{eventsPkg}, "a choice between lanes follows from what is said of them"},
		{[]string{"reelay/internal/want"}, []string{eventsPkg}, "what a model takes follows from data: no broker, no network"},
		{[]string{registryPkg}, []string{eventsPkg}, "facts link no driver, so that every package may ask for them"},
		{
			[]string{"reelay/internal/task"},
			[]string{eventsPkg, valuesPkg},
			"the machine is a pure function: no broker, no network, no log",
		},
		{
			[]string{"reelay/internal/dispatch"},
			[]string{eventsPkg, bucketPkg, "reelay/internal/forecast", "reelay/internal/task"},
			"what is sent next follows from records and limits: no broker, no clock, no log, no breaker",
		},
		{[]string{jsonapiPkg}, []string{eventsPkg, valuesPkg, "reelay/internal/secret"}, "what drivers share knows no provider"},
		{[]string{valuesPkg}, []string{eventsPkg, addressPkg, brotli}, "values know of nobody, and a free answer may come compressed"},
		{
			drivers,
			[]string{eventsPkg, valuesPkg, jsonapiPkg, addressPkg, "reelay/internal/secret", standardWebhooks, "github.com/google/uuid"},
			"a driver reads one provider's wire format and decides nothing; it knows no service, no broker and no other driver",
		},
		{
			[]string{localPkg},
			[]string{eventsPkg, valuesPkg, busPkg, ffmpegPkg},
			"its wire is the bus; it knows no service and no other driver",
		},
		{[]string{ffmpegPkg}, []string{eventsPkg}, "what runs programs on strangers' files knows no task and no network"},
		{
			append([]string{emulator}, emulated...),
			[]string{emulator},
			"an emulator is an independent judge: what it shared with the pipeline it could not find wrong",
		},
		{
			[]string{allEmulators},
			[]string{emulators, emulator},
			"what starts the emulators must not tie them to the pipeline",
		},
		{
			[]string{"reelay/internal/paid"},
			[]string{valuesPkg},
			"the only code that can spend money is small enough to be read in one go",
		},
		{
			[]string{"reelay/internal/backup"},
			[]string{eventsPkg, bucketPkg, nats, "github.com/nats-io/jsm.go", "github.com/nats-io/jsm.go/api"},
			"a copy of streams needs the contract's names and a NATS connection",
		},
		{
			[]string{busPkg},
			[]string{eventsPkg, bucketPkg, "reelay/internal/chunk", "reelay/internal/objects", "reelay/internal/failpoint", layoutPkg, "reelay/internal/written", tracePkg, nats + "/...", nats, prometheus},
			"the bus knows streams, buckets and records, and no lease, cap or forecast",
		},
		{
			[]string{"reelay/internal/api"},
			[]string{eventsPkg, bucketPkg, busPkg, nats, nats + "/micro"},
			"how a request is answered is the same whatever is asked",
		},
		{
			[]string{layoutPkg},
			[]string{eventsPkg, bucketPkg, nats + "/jetstream"},
			"what is needed of a stream follows from the contract: it asks no broker",
		},
		{
			[]string{"reelay/internal/lease"},
			[]string{eventsPkg, bucketPkg, busPkg},
			"a lease is a key with a lifetime, and knows nothing of what it is for",
		},
		{
			[]string{"reelay/internal/dependency"},
			[]string{eventsPkg, clientPkg, busPkg},
			"what became of other tasks is read from their records, and decided by the machine",
		},
		{
			[]string{"reelay/internal/inputs"},
			[]string{eventsPkg, clientPkg, bucketPkg, busPkg, valuesPkg, "reelay/internal/media", "golang.org/x/image/webp", "golang.org/x/sync/singleflight"},
			"a file is handed to whatever driver there is; what is done with it is not known here",
		},
		{
			[]string{"reelay/internal/turns"},
			[]string{eventsPkg, busPkg, "golang.org/x/sync/errgroup", nats + "/jetstream"},
			"whose turn it is follows from the line alone; what a request asks for is not known here",
		},
		{
			[]string{"reelay/internal/quota"},
			[]string{eventsPkg, bucketPkg, operatorPkg, busPkg, "reelay/internal/api", "reelay/internal/settings", "golang.org/x/time/rate"},
			"what a project may do follows from its quota and from counts: no record is read",
		},
		{
			[]string{"reelay/internal/spend"},
			[]string{eventsPkg, bucketPkg, busPkg, prometheus},
			"money is set aside for whoever asks; what it buys is not known here",
		},
		{
			[]string{"reelay/internal/forecast/learner"},
			[]string{eventsPkg, bucketPkg, busPkg, "reelay/internal/forecast", prometheus},
			"a learner keeps the forecasts of one process and calls no provider",
		},
		{
			[]string{tracePkg},
			[]string{eventsPkg, otel + "/trace", otel + "/attribute", otel + "/codes", otel + "/propagation"},
			"services make spans by the API, which does nothing by itself",
		},
		{[]string{"reelay/internal/objects"}, []string{nats + "/jetstream"}, "what reads objects knows no bucket of the contract"},
		{[]string{"reelay/internal/chunk", "reelay/internal/disk", "reelay/internal/failpoint"}, nil, "what is read in one go brings nothing along"},
	}
	for _, row := range rows {
		for _, p := range find(t, row.of...) {
			for _, imported := range p.Imports {
				if !isStandard(imported) && !anyMatches(row.only, imported) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, row.why)
				}
			}
		}
	}
}

// TestLinks says of packages what they may not depend on, through others or not.
func TestLinks(t *testing.T) {
	rows := []struct {
		of    []string
		never []string
		why   string
	}{
		{[]string{services}, []string{services}, "services meet in NATS alone, so that each can run without the others"},
		{
			[]string{services},
			append([]string{emulator, emulators, "reelay/internal/allinone", lanesPkg, localPkg}, drivers...),
			"a service works with whatever lanes its main gives it",
		},
		{[]string{services}, []string{"reelay/internal/natsd", natsServer}, "a service is a client of any NATS"},
		{
			[]string{
				"reelay/cmd/submitter", "reelay/cmd/poller", "reelay/cmd/status", "reelay/cmd/webhook", "reelay/cmd/mcp",
				"reelay/cmd/archiver", "reelay/cmd/console", "reelay/cmd/media", "reelay/cmd/notifier",
			},
			[]string{"reelay/internal/natsd", natsServer, emulator, emulators, "reelay/internal/allinone"},
			"a production binary carries no broker and nothing that plays a provider",
		},
		{
			[]string{"reelay/cmd/status"},
			append([]string{lanesPkg}, drivers...),
			"the read side never calls a provider, and holds no key",
		},
		{
			[]string{"reelay/cmd/media", "reelay/services/media", "reelay/cmd/notifier", "reelay/services/notifier"},
			append([]string{lanesPkg}, drivers...),
			"what runs programs on strangers' files, and what calls users' services, holds no key",
		},
		{
			[]string{"reelay/services/mcp", "reelay/services/console"},
			append([]string{
				busPkg, lanesPkg, "reelay/internal/taskstore", "reelay/internal/task", "reelay/internal/paid",
				"reelay/internal/journal",
			}, drivers...),
			"what agents and people talk to is a client of the contract as any other",
		},
		{
			[]string{
				"reelay/cmd/status", "reelay/cmd/poller", "reelay/cmd/webhook", "reelay/services/status", "reelay/services/poller",
				"reelay/services/webhook", "reelay/cmd/archiver", "reelay/services/archiver", "reelay/cmd/media",
				"reelay/services/media", "reelay/cmd/notifier", "reelay/services/notifier",
			},
			[]string{"reelay/services/submitter"},
			"only the submitter spends money",
		},
		{
			[]string{"reelay/services/notifier"},
			[]string{"reelay/internal/taskstore", "reelay/internal/task", "reelay/internal/paid", "reelay/internal/journal"},
			"what calls users' services writes no record",
		},
		{
			[]string{"reelay/cmd/webhook", "reelay/services/webhook"},
			[]string{"reelay/internal/taskstore", "reelay/internal/task", "reelay/internal/paid", "reelay/internal/journal"},
			"what faces the internet writes no record and spends nothing",
		},
		{
			[]string{"reelay/services/webhook"},
			[]string{"reelay/internal/bus", "github.com/nats-io/nats.go/..."},
			"the webhook service serves before NATS does, and hands on callbacks by one narrow interface",
		},
		{
			[]string{"reelay/cmd/natsd", "reelay/cmd/emulator"},
			append([]string{services, lanesPkg}, drivers...),
			"they serve the pipeline and are no part of it",
		},
		{
			[]string{"reelay/cmd/...", services, "reelay/internal/allinone"},
			[]string{"reelay/internal/test/..."},
			"the machinery of tests is apart from the product",
		},
		{[]string{"reelay/cmd/..."}, []string{"testing", "testing/..."}, "no binary carries the test framework"},
		{
			[]string{busPkg, "reelay/internal/lease", "reelay/internal/taskstore", "reelay/internal/proc"},
			append([]string{services}, drivers...), "foundations know nothing of what stands on them",
		},
	}
	for _, row := range rows {
		for _, never := range row.never {
			if strings.HasPrefix(never, "reelay/") {
				find(t, never)
			}
		}
		for _, p := range find(t, row.of...) {
			for _, dep := range p.Deps {
				if dep != p.ImportPath && anyMatches(row.never, dep) {
					t.Errorf("%s depends on %s: %s", p.ImportPath, dep, row.why)
				}
			}
		}
	}
}

// TestImporters says of packages who alone may import them.
func TestImporters(t *testing.T) {
	rows := []struct {
		target []string
		by     []string
		why    string
	}{
		{
			[]string{failsafe, failsafe + "/..."},
			[]string{"reelay/services/poller", "reelay/internal/breaker"},
			"retries are for free calls and for breakers; nobody else decides to call a provider again",
		},
		{
			[]string{"reelay/internal/paid"},
			[]string{"reelay/internal/taskstore", "reelay/services/submitter", "reelay/internal/allinone"},
			"whoever can spend money is listed here",
		},
		{append([]string{localPkg}, drivers...), []string{lanesPkg}, "the drivers are linked in one place"},
		{
			[]string{lanesPkg},
			[]string{
				"reelay/cmd/submitter", "reelay/cmd/poller", "reelay/cmd/webhook", "reelay/cmd/archiver",
				"reelay/internal/allinone", "reelay/cmd/reelay",
			},
			"lanes are opened by whoever starts a service; the doctor tries a key",
		},
		{
			[]string{"reelay/internal/artifact/all"},
			[]string{"reelay/cmd/archiver", "reelay/internal/allinone"},
			"one service opens stores; the others ask it for links and bytes",
		},
		{
			[]string{"reelay/internal/artifact/cloud", "gocloud.dev/...", "github.com/aws/...", "github.com/Azure/..."},
			[]string{"reelay/internal/artifact/all", "reelay/internal/artifact/cloud"},
			"the SDKs of S3 and Azure are larger than the rest of a binary",
		},
		{
			[]string{otel + "/sdk/...", otel + "/exporters/...", "go.opentelemetry.io/contrib/..."},
			[]string{"reelay/internal/telemetry"},
			"one package says where spans go; whoever makes them knows the API alone",
		},
		{
			[]string{"reelay/internal/telemetry"},
			[]string{"reelay/internal/proc", "reelay/cmd/reelay"},
			"a process exports, and no part of one; the help lists the variables",
		},
		{
			[]string{allEmulators},
			[]string{"reelay/cmd/emulator", "reelay/internal/allinone"},
			"nothing that plays a provider is near real ones",
		},
		{
			[]string{"reelay/internal/dispatch"},
			[]string{"reelay/services/submitter", "reelay/services/status"},
			"one service decides what is sent next, one lists tasks in that order",
		},
		{
			[]string{natsServer},
			[]string{"reelay/internal/natsd", "reelay/internal/test/broker"},
			"there is one way to embed a broker, the one with the lock",
		},
		{
			[]string{"reelay/internal/storeguard"},
			[]string{"reelay/services/submitter", "reelay/internal/allinone"},
			"one service spends, and is stopped",
		},
		{[]string{"reelay/internal/test/sim"}, nil, "simulation is for tests"},
		{[]string{"reelay/internal/test/broker"}, []string{"reelay/internal/test/sim"}, "a broker in a bubble is for tests"},
	}
	for _, row := range rows {
		users := map[string]bool{}
		for _, p := range packages(t) {
			for _, imported := range p.Imports {
				if anyMatches(row.target, imported) {
					users[p.ImportPath] = true
					if !slices.Contains(row.by, p.ImportPath) {
						t.Errorf("%s imports %s: %s", p.ImportPath, imported, row.why)
					}
				}
			}
		}
		for _, p := range find(t, row.by...) {
			if !users[p.ImportPath] {
				t.Errorf("%s may import %v and does not: take it out of the rule", p.ImportPath, row.target)
			}
		}
	}
}

// TestUses says which names of a package only some may mention.
func TestUses(t *testing.T) {
	rows := []struct {
		target string
		names  []string
		by     string
		why    string
	}{
		{
			"reelay/internal/paid",
			[]string{"Grant"},
			"reelay/internal/taskstore",
			"a permit comes from an acknowledged intent and from nowhere else",
		},
		{
			"reelay/internal/paid",
			[]string{"NewPoster", "Poster"},
			"reelay/services/submitter",
			"one service sends paid requests",
		},
		{
			"reelay/internal/bus",
			[]string{"Put"},
			"reelay/internal/taskstore",
			"records change by Apply and compare-and-set, in one place",
		},
	}
	for _, row := range rows {
		find(t, row.target)
		used := false
		for _, p := range packages(t) {
			all := uses(t, p, row.target)
			for _, name := range row.names {
				at, ok := all[name]
				switch {
				case !ok:
				case p.ImportPath == row.by:
					used = true
				default:
					t.Errorf("%s uses %s.%s: %s", at, row.target, name, row.why)
				}
			}
		}
		if !used {
			t.Errorf("%s uses none of %v of %s: the rule is out of date", row.by, row.names, row.target)
		}
	}
}

// TestThinClient: the command asks by subject, so that whatever it does any other client can do. Only the doctor looks
// at JetStream, whose state no service tells.
func TestThinClient(t *testing.T) {
	const jetStream = "github.com/nats-io/nats.go/jetstream"
	for _, p := range find(t, "reelay/cmd/reelay") {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range file.Imports {
				path, _ := strconv.Unquote(spec.Path.Value)
				if path == "reelay/internal/bus" || path == jetStream && !strings.HasPrefix(name, "doctor") {
					t.Errorf("%s imports %s: ask a service instead", name, path)
				}
			}
		}
	}
}

// TestWebhookReadsNoKey: what faces the internet does not so much as read a provider's key.
func TestWebhookReadsNoKey(t *testing.T) {
	for _, p := range find(t, "reelay/cmd/webhook", "reelay/services/webhook") {
		found := uses(t, p, "reelay/internal/config")
		for _, name := range []string{"Providers", "NewProviders", "Resolved"} {
			if at, ok := found[name]; ok {
				t.Errorf("%s uses config.%s, which has the providers' keys", at, name)
			}
		}
		for name, at := range uses(t, p, "reelay/internal/secret") {
			t.Errorf("%s uses secret.%s: the webhook service has callback keys, in the form of package callbackurl, and "+
				"no others", at, name)
		}
	}
}

// TestPackageComments: go doc of any package says what it is for.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestNoForeignPaths: nothing in the repository points at the machine it was written on.
func TestNoForeignPaths(t *testing.T) {
	// Put together here, so that this file does not hold them.
	forbidden := []string{"/" + "work/", "/tmp/" + "research"}
	for _, name := range repositoryFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range forbidden {
			if i := bytes.Index(text, []byte(path)); i >= 0 {
				t.Errorf("%s:%d mentions %s", name, 1+bytes.Count(text[:i], []byte("\n")), path)
			}
		}
	}
}
