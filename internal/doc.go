// Package internal is the inside of reelay: everything but the contract (package events), the services and the
// commands. It has no code of its own. This page says what is in which room, and which way a request takes through
// them.
//
// # Rooms
//
// A floor imports only floors below it; package internal/test/arch holds the rules and their reasons. At the top:
//
//	cmd/*                 the binaries: they read settings and start parts
//	test/arch             rules between packages, with their reasons
//	test/broker           the real broker in synctest bubbles
//	test/chaos            real processes, killed and cut off
//	test/long             tests that are left out of the usual run
//	test/model            every interleaving of the submit protocol
//	test/ops              an operator's acts on the broker under a running pipeline
//	test/provider         what every driver must do
//	test/stores           servers of S3 and of Azure
//	test/sim              the whole pipeline in simulated time
//
//	bench                 measures what a task costs, beside a bare JetStream loop, and what is read of many
//	allinone              the whole of reelay in one process: reelay up, the sandbox, simulations
//
//	services/submitter    takes requests in, and sends each task to its provider once; the only one that spends money
//	services/poller       asks the providers where the tasks are, by poll, heartbeat and callback
//	services/webhook      receives the providers' callbacks; it faces the internet
//	services/archiver     copies the outputs of tasks into reelay's own store and hands them out; takes in files
//	services/media        does with ffmpeg what costs no money: sound under a video, videos in one, pictures of one
//	services/status       answers queries, and keeps the index that they need
//	services/notifier     sends events to web services of users, as signed webhooks
//	services/console      shows everything to people in a browser, a thin client of the contract
//	services/mcp          serves agents by the Model Context Protocol, a thin client of the contract
//
//	artifact/all          opens the store of outputs that a URL names; links the drivers of all kinds
//	artifact/cloud        keeps files in S3 and in Azure; links their SDKs
//	lanes                 opens lanes: settings and keys become drivers; the only room that links drivers
//	group                 chooses between lanes of one provider that stand for each other; pure
//	dispatch              may this task be sent now, why not, and when; pure
//	taskstore             changes records in the one safe order: load, Apply, compare-and-set, publish, acknowledge
//
//	task                  the state machine: record and trigger in, record and events out; pure
//	paid                  sends a paid request once, with a permit
//	api                   answers requests of the API: verbs of any service, their limits and errors
//	settings              writes what operators set, by compare-and-set
//	quota                 keeps one project from taking what others need: waiting tasks, requests, calls, rejections
//	backlog               counts what waits to be taken in
//	turns                 has requests and commands taken in out of turn while somebody has sent a burst
//	chain                 estimates when tasks end that wait for others
//	leader                asks who sends for a lane where tasks stand, and what blocks it
//	lease                 elects the one process that dispatches a lane
//	spend                 keeps what is spent in a day within caps
//	dependency            reads what became of the tasks that a waiting one depends on
//	retry                 makes of a request to make a task again the whole of it; what may have cost money needs a word
//	inputs                turns the files that requests name into what providers take
//	storeguard            stops spending while the broker's store cannot be trusted
//	letters               shows the dead letters and the callbacks that are stored, and replays them
//	schemas               keeps what providers serve of the inputs of their models
//	catalog               tells what models can be told, cost and take, before anything is submitted
//	segment               says which tasks make a segment: a video, speech, and both in one file; pure
//	forecast/learner      learns durations from what all processes see, and keeps them
//	config                the settings that the binaries share, as flags and variables
//
//	provider              what services and drivers exchange: Lane, Driver, and the values that go between them
//	provider/registry     what is known of each provider, one row each; how to add one
//	provider/jsonapi      free calls and answers in JSON, for the drivers of the providers that have them
//	provider/<name>       a driver: one provider's wire format
//	provider/local        the driver of the lane whose work services/media does
//	bus                   JetStream in reelay's terms: streams, buckets, consumers
//	layout                what is needed of each stream and bucket, and what is wrong with one; pure
//	accounts              makes keys, contexts and a server's configuration from events/rights
//	natsd                 the embedded NATS server
//	artifact              keeps files by the SHA-256 of their bytes, in a directory or in NATS
//	journal               a submitter's own memory of its paid requests, on local disk
//	backup                copies the streams of a broker, and puts them back so that nothing is paid for twice
//	breaker               keeps a lane from sending while outcomes are unknown
//	ramp                  how many paid requests of a lane may be under way at once
//	callbackurl           makes and checks the URLs at which providers call back
//	forecast              when a task will end, and when to poll next; pure
//
//	events                the contract: subjects, records, events, errors
//	events/bucket         the contract's KV buckets: settings, caps, leases, what was learned
//	events/rights         the contract's part for who may do what: services, tenants and their roles
//	events/operator       the contract's part for operators: lanes, caps, dead letters, callbacks
//	events/client         what Go programs use the contract with
//	describe              says in words where a task is; pure
//	approval              signs questions about money, which then need not be kept
//	access                who may use reelay over HTTP, and as whom: bearer tokens, projects, roles
//	mcpwire               carries a server of the Model Context Protocol to clients of every revision, with tasks
//	emulator              what the emulators share: ledger, scripts, faults, media
//	emulator/<name>       a server that behaves as one provider does
//	emulator/all          starts the emulators of all providers
//	spend/price           what the providers charge
//	want                  turns what a request wants into the input of a model; pure
//	proc                  what every process is made of: parts, readiness, metrics, signals
//	ffmpeg                runs ffmpeg on files, and reads what it shall do
//	thumbnail             makes small pictures of stored pictures and videos, with ffmpeg
//	longhttp              serves HTTP whose answers may last for hours
//	media                 fetches the files that providers make, and says what they are by their bytes
//	ordered               values in order, and several orders at once
//	trace                 makes the spans of tasks, and says in the log of which trace a line is
//	telemetry             sends spans and metrics to a collector, as the OTEL_* variables say; links OpenTelemetry's SDK
//	secret                keys that cannot be printed
//	address               which addresses are this machine alone, and the guard of connections to those that strangers name
//	certificate           serves TLS with a certificate in files, which may be renewed at any time
//	written               remembers the records that a process has written, so that its watch need not decode them
//	objects               reads what NATS' object store holds, message by message
//	chunk                 fills the messages that a stored object is cut into
//	disk                  how much room a disk has
//	smallfile             reads files that people write, no further than to a limit
//	failpoint             where a simulation may lose a write
//	terminal              lines for a terminal: their width, bars, colours by meaning
//	manual                the long texts of reelay help, in Markdown
//	mixin                 alert rules for Prometheus and a dashboard for Grafana, of the metrics that the services have
//	version               which build this is
//
// # The path of a request
//
//	nats pub reelay.request.demo.video
//	   |
//	REELAY_REQUESTS
//	   |   services/submitter, intake: want maps it, the driver checks it, spend/price prices it, it becomes a record
//	   v                                                                                   event queued
//	KV reelay_tasks: the record, phase waiting; the same message is its heartbeat
//	   |   services/submitter, dispatch: the leader of the lane asks dispatch whose turn it is
//	   |   inputs gives the provider the files that the request names, for free, as often as needed
//	   |   spend reserves the price; taskstore records the intent, which gives the permit
//	   |   paid sends the request once; journal keeps the answer before it is recorded
//	   v                                                                                   event submitted
//	REELAY_POLLS: the poll ticket, handed back with the delay until the next poll (forecast)
//	   |   services/poller: the driver polls the provider                                  event progress
//	   |
//	   |   beside it: provider -> services/webhook -> REELAY_CALLBACKS -> services/poller;
//	   |   whichever is first is recorded, the other finds it done
//	   v
//	KV reelay_tasks: the record, phase done, with its result
//	   |                                                                                   event completed
//	REELAY_EVENTS: nats sub 'reelay.event.demo.*.completed'
//	   |   beside it: services/notifier -> REELAY_NOTIFY -> a web service of the user
//	   |
//	REELAY_ARTIFACTS -> services/archiver: the outputs go through a spool into the store (artifact); the record, still
//	   done, says where they are                                                           event stored
//
// Each arrow is one step of task: a trigger and the record in, the next record and its events out. A submit in doubt,
// of which nobody knows whether it was accepted, goes by the heartbeat of its record: services/poller searches the
// provider's list, then the policy of the request or a person decides.
package internal
