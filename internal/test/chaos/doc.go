// Package chaos runs reelay as its users do, as processes that talk over TCP, and breaks it: the broker, the emulated
// providers and two replicas of each service are killed, paused and stopped at random while tasks are handed in, and
// the connections between them, webhooks included, are cut, reset, half closed, delayed and stalled by a proxy of its
// own. Some of the tasks ask the emulators for faults as well, of their calls and of their webhooks, which are lost,
// repeated, late, early, cut off, replayed and forged. At the end all faults stop, and what stays in doubt is decided
// as a person would, by the providers' ledgers, and then Judge compares ledgers, records and events. It is for tests
// only.
//
//	go test ./internal/test/chaos                                              a short run
//	go test ./internal/test/chaos -v -timeout 40m -chaos.tasks=2000 -chaos.kills=500 -run TestChaos
//	go test ./internal/test/chaos -v -timeout 40m -chaos.nodes=3 -chaos.node-kills=60 -chaos.kills=150 -run TestChaos
//	go test ./internal/test/chaos -v -chaos.seed=7                             the same schedule again
//
// A seed repeats the tasks, the victims, the faults and their order, not the instants at which they meet: a failure is
// met again statistically. Every kind of fault must have been met at least once, else the run is void; a short one may
// miss a few.
//
// A short run polls its tasks as often as a sandbox does, so its pollers have no keys; a long one as often as with real
// providers. What MiniMax lets through in a minute is raised in the lane and in the emulator alike.
//
// With -chaos.nodes=3 the broker is a cluster of three nats-servers of the version in go.mod, and everything is kept
// three times. Beside the other faults its nodes are killed (any of them, the leader of the task records, that of the
// cluster), killed two at once, so that for some seconds nothing can be written, paused for ten seconds, and restarted
// one after the other. The next fault comes when every replica of every stream is current again, which may take a
// minute at most. The routes between the nodes are not cut.
//
// Only processes that the run itself has started are signalled, through their handles; everything listens on loopback.
package chaos
