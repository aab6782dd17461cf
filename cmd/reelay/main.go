// Reelay runs and drives the reelay pipeline for paid generative-media tasks.
//
//	reelay run video --prompt P   make one video and save it
//	reelay segment, concat                                 make a video with speech under it, and one of several
//	reelay up                                              the whole stack in one process
//	reelay submit | watch | wait                           hand in a task, follow it, wait for its end
//	reelay upload FILE                                     hand in a picture or a sound that requests name
//	reelay ls | get | timeline | queue                     see what there is
//	reelay top                                             lanes and tasks as they move, on the whole screen
//	reelay cancel | resolve                                end a task, decide about one in doubt
//	reelay retry                                           make a task again, or all that have failed of a batch
//	reelay batch                                           see how far the tasks of a batch are, wait for all
//	reelay spend, spend cap                                see what was spent, limit what may be in a day
//	reelay quotas, quotas set                              see and set what projects may hand in and ask for
//	reelay artifacts ls | verify | gc                      see what is stored, check it, delete what nobody names
//	reelay erase                                           forget what a task was given and has made
//	reelay dead ls | show | replay                         see messages that could not be processed, try one again
//	reelay notify ls | replay | test                       see webhooks to your services, send again, try one
//	reelay callbacks ls | show | replay                    see what providers have called back with, take one again
//	reelay lanes ls | pause | resume | set                 stop spending and go on, for one account or for all
//	reelay mcp                                             serve an agent by the Model Context Protocol, over stdio
//	reelay backup | restore                                copy the store, and put it back without paying twice
//	reelay bench                                           measure what a task costs here, beside a bare JetStream loop
//	reelay auth init | add | revoke                        give each service and tenant a key and the least rights
//	reelay doctor                                          say what is wrong with an installation
//	reelay completion bash | zsh | fish                    print what makes a shell complete words
//	reelay help [TOPIC]                                    the manual: subjects, config, operations, proofs, ...
//
// All but run, segment, concat (without NATS) and up are thin clients: they use only the subjects of package events, so whatever they
// do can be done by any NATS client. NATS is found by --server (NATS_URL), --context (NATS_CONTEXT, as the nats
// CLI stores it) and --creds (NATS_CREDS), by default at nats://127.0.0.1:4222.
//
// Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 the task or the request
// failed, 2 wrong usage, 3 NATS cannot be reached or no service answers, 130 interrupted (the task itself goes on).
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"
	"golang.org/x/term"

	"reelay/internal/config"
	"reelay/internal/media"
	"reelay/internal/terminal"
)

const description = "NATS-native pipeline for long-running, paid generative-media tasks."

// commands is what kong reads the command line into.
type commands struct {
	Run        runCmd        `cmd:"" help:"Make one thing: submit, show progress, save the media. Without NATS: in a sandbox of its own."`
	Segment    segmentCmd    `cmd:"" help:"Make a video with speech by a voice under it, in one file. Without NATS: in a sandbox of its own."`
	Concat     concatCmd     `cmd:"" help:"Make one video of several."`
	Up         upCmd         `cmd:"" help:"Run the whole stack in one process."`
	Submit     submitCmd     `cmd:"" help:"Hand in a task."`
	Upload     uploadCmd     `cmd:"" help:"Hand in a file that requests of a project name."`
	Models     modelsCmd     `cmd:"" help:"Show what models can be told, and what they cost."`
	Quote      quoteCmd      `cmd:"" help:"Tell what a task would cost and take, without submitting it."`
	Watch      watchCmd      `cmd:"" help:"Show events as they happen, of one task or of many."`
	Wait       waitCmd       `cmd:"" help:"Wait until a task has ended."`
	Ls         lsCmd         `cmd:"" help:"List tasks, newest first."`
	Get        getCmd        `cmd:"" help:"Show one task."`
	Open       openCmd       `cmd:"" help:"Print links to what a task has made, which work for a while without reelay."`
	Timeline   timelineCmd   `cmd:"" help:"Tell the story of one task: who decided what, when and why."`
	Queue      queueCmd      `cmd:"" help:"Show how much work there is, by status and by provider account."`
	Top        topCmd        `cmd:"" help:"Show lanes and tasks as they move, on the whole screen."`
	Cancel     cancelCmd     `cmd:"" help:"Ask for the end of a task, or of a segment with all that it is made of."`
	Resolve    resolveCmd    `cmd:"" help:"Decide about a task whose paid request is in doubt."`
	Retry      retryCmd      `cmd:"" help:"Make ended tasks again, as new tasks: one, or all that have failed of a batch."`
	Batch      batchCmd      `cmd:"" help:"Show how far a batch is, or wait for its end."`
	Spend      spendCmd      `cmd:"" help:"Show what was spent and is reserved, and limit what may be."`
	Quotas     quotasCmd     `cmd:"" help:"Show and set what projects may do: waiting tasks, requests, calls."`
	Artifacts  artifactsCmd  `cmd:"" help:"List, check and clear the store of outputs."`
	Erase      eraseCmd      `cmd:"" help:"Forget what an ended task was given and has made."`
	Dead       deadCmd       `cmd:"" help:"List, show or replay messages that could not be processed."`
	Callbacks  callbacksCmd  `cmd:"" help:"List, show or replay what providers have called back with."`
	Notify     notifyCmd     `cmd:"" help:"List, replay or try the webhooks to your own services."`
	Lanes      lanesCmd      `cmd:"" help:"List, pause or resume the lanes: whether paid requests are sent."`
	Mcp        mcpCmd        `cmd:"" name:"mcp" help:"Serve an agent by the Model Context Protocol, over standard input and output."`
	Backup     backupCmd     `cmd:"" help:"Copy every stream into a directory, while the services work."`
	Restore    restoreCmd    `cmd:"" help:"Put a backup back, so that nothing is paid for twice; without one: say that a copy was put back."`
	Bench      benchCmd      `cmd:"" help:"Measure what a task costs here, beside a bare JetStream loop."`
	Auth       authCmd       `cmd:"" help:"Make the keys and rights of services and tenants, for a nats-server."`
	Doctor     doctorCmd     `cmd:"" help:"Check the installation and say what to do."`
	Completion completionCmd `cmd:"" help:"Print what makes a shell complete commands, flags and values."`
	Help       helpCmd       `cmd:"" help:"Explain a topic, or a command; alone: list the topics."`
}

// env is what a command gets from its process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// width returns the columns of the terminal behind stderr, 0 if it is none.
	width func() int
	// screen returns the size of the terminal behind stdout, 0 if it is none.
	screen func() (columns, rows int)
	// keys has single keys read from the terminal behind stdin; quit is closed once one asks for the end.
	keys   func(ctx context.Context) (quit <-chan struct{}, restore func(), err error)
	getenv func(string) string
	log    *slog.Logger
	// startSandbox starts the whole stack with emulated providers in this process; stop ends it.
	startSandbox func(ctx context.Context, log *slog.Logger) (nc *nats.Conn, stop func(), err error)
	// fetcher returns what downloads what tasks have made, from public addresses and hosts.
	fetcher func(hosts []string) *media.Fetcher
}

// style returns the style of what is painted on the terminal behind stderr.
func (e *env) style() terminal.Style { return terminal.StyleOf(e.width() > 0, e.getenv) }

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	e := &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, fetcher: func(hosts []string) *media.Fetcher { return media.NewFetcher(hosts, media.DefaultMaxBytes) },
		width: func() int {
			fd := int(os.Stderr.Fd())
			if !term.IsTerminal(fd) {
				return 0
			}
			columns, _, err := term.GetSize(fd)
			if err != nil || columns <= 0 {
				return 80
			}
			return columns
		},
		screen: func() (int, int) {
			columns, rows, err := term.GetSize(int(os.Stdout.Fd()))
			if err != nil {
				return 0, 0
			}
			return columns, rows
		},
		keys: terminalKeys, getenv: os.Getenv,
		// Commands speak for themselves; the log holds what they cannot know of, such as a lost connection.
		log:          slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		startSandbox: startSandbox,
	}
	return execute(ctx, e, os.Args[1:])
}

// terminalKeys reads keys as they are pressed. Without a terminal behind stdin nothing is read.
func terminalKeys(context.Context) (<-chan struct{}, func(), error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, func() {}, nil
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, nil, fmt.Errorf("keys of the terminal: %w", err)
	}
	return quitKey(os.Stdin), func() { _ = term.Restore(fd, before) }, nil
}

func newCommands() *commands {
	return &commands{Up: upCmd{Providers: config.NewProviders(), Webhook: config.NewWebhook()}}
}

// execute parses args, runs the command they name and returns the exit code.
func execute(ctx context.Context, e *env, args []string) int {
	if len(args) > 0 && args[0] == completeArg {
		return report(e.stderr, complete(e.stdout, args[1:]))
	}
	parsed, err := config.Parse(args, newCommands(), "reelay", description, parseOptions(ctx, e)...)
	if err != nil {
		return config.Report(e.stderr, "reelay", err)
	}
	return report(e.stderr, parsed.Run(e))
}
