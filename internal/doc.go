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
//	test/model            every interleaving of the submit protocol
//	test/provider         what every driver must do
//	test/sim              the whole pipeline in simulated time
//
//	allinone              the whole of reelay in one process: reelay up, the sandbox, simulations
//
//	services/submitter    takes requests in, and sends each task to its provider once; the only one that spends money
//	services/poller       asks the providers where the tasks are, by poll, heartbeat and callback
//	services/webhook      receives the providers' callbacks; it faces the internet
//	services/status       answers queries, and keeps the index that they need
//
//	lanes                 opens lanes: settings and keys become drivers; the only room that links drivers
//	dispatch              may this task be sent now, why not, and when; pure
//	taskstore             changes records in the one safe order: load, Apply, compare-and-set, publish, acknowledge
//
//	task                  the state machine: record and trigger in, record and events out; pure
//	paid                  sends a paid request once, with a permit
//	lease                 elects the one process that dispatches a lane
//	spend                 keeps what is spent in a day within caps
//	storeguard            stops spending while the broker's store cannot be trusted
//	forecast/learner      learns durations from what all processes see, and keeps them
//	config                the settings that the binaries share, as flags and variables
//
//	provider              what services and drivers exchange: Lane, Driver, and the values that go between them
//	provider/registry     what is known of each provider, one row each; how to add one
//	provider/<name>       a driver: one provider's wire format
//	bus                   JetStream in reelay's terms: streams, buckets, consumers
//	natsd                 the embedded NATS server
//	journal               a submitter's own memory of its paid requests, on local disk
//	callbackurl           makes and checks the URLs at which providers call back
//	forecast              when a task will end, and when to poll next; pure
//
//	events                the contract: subjects, records, events, errors
//	events/bucket         the contract's KV buckets: settings, caps, leases, what was learned
//	events/operator       the contract's part for operators: lanes, caps, dead letters, callbacks
//	events/client         what Go programs use the contract with
//	emulator              what the emulators share: ledger, scripts, faults, media
//	emulator/<name>       a server that behaves as one provider does
//	emulator/all          starts the emulators of all providers
//	spend/price           what the providers charge
//	proc                  what every process is made of: parts, readiness, metrics, signals
//	media                 fetches the files that providers make, and says what they are by their bytes
//	secret                keys that cannot be printed
//	disk                  how much room a disk has
//	failpoint             where a simulation may lose a write
//	version               which build this is
//
// # The path of a request
//
//	nats pub reelay.request.demo.video
//	   |
//	REELAY_REQUESTS
//	   |   services/submitter, intake: the driver checks it, spend/price prices it, it becomes a record
//	   v                                                                                   event queued
//	KV reelay_tasks: the record, phase waiting; the same message is its heartbeat
//	   |   services/submitter, dispatch: the leader of the lane asks dispatch whose turn it is
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
//
// Each arrow is one step of task: a trigger and the record in, the next record and its events out. A submit in doubt,
// of which nobody knows whether it was accepted, goes by the heartbeat of its record: services/poller searches the
// provider's list, then the policy of the request or a person decides.
package internal
