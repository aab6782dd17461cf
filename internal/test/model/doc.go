// Package model explores the submit protocol exhaustively: every interleaving of two submitters, the pollers, the
// heartbeat, a provider, a client who may cancel and a person who may resolve, with a crash possible at every step and
// replies and acknowledgements that are lost. The record is a real events.Task and only the real task.Apply changes it.
//
// # What is explored
//
//   - A submitter takes a waiting record to its intent (acknowledged, or sent without an acknowledgement, and then
//     stored at once, later or never), has a permit, sends or is vetoed by its gate, reads an acceptance, a refusal
//     (final, or of the account) or nothing, and reports. It dies anywhere, with its journal or, by Options.Journal,
//     without. The gate is taken for a veto and no permission: it may let everything through.
//   - With Options.Synchronous the answer is itself the result, or a failure in its place. Then there is nobody to poll,
//     no callback and no list: what was answered to a submitter that is lost with its disk stays lost.
//   - A request whose reply was lost may be accepted later, at any time, or never. The provider finishes, fails,
//     cancels, and with Options.OddPolls forgets the task or fails it for free.
//   - Polls, callbacks, listings, cancel and resolve commands arrive while their message is there, more than once if
//     whoever handles it dies before the acknowledgement. Callbacks and listings come at any time, any number of times,
//     or never; a callback shows an acceptance, or tells how any of the attempts has ended.
//   - Events are stored after the record, one by one, by several publishers at once; each may die between any two. The
//     store takes an event that happens once only once.
//   - The heartbeat comes at any moment while the record has one. What was delivered may expire before it is handled.
//   - A listing may be incomplete. With Options.Unheard the acknowledgement of a report is lost and the report comes
//     again; with Options.Behind a heartbeat or an intent comes from a service whose clock is behind everybody else's.
//
// # What is abstracted
//
// Records are grouped into classes by everything that Apply, Heartbeat and Needs read: no texts, evidence, exact times
// or versions. Each pair of class and trigger goes through the machine once, on the first record found of the class. At
// the end of a complete exploration a second record of each class, where one was found, has to be treated alike.
//
// Time has two parts. The world's clock says which deadlines have passed and only moves forward. The record's own
// timers (not_before, not_after, the horizon, the grace of a cancel, late polling) are compared with a trigger that
// comes at once or after a wait that lets the next of them run out.
//
// Reading a record and writing it is one step: a read that was overtaken loses its compare-and-set and is repeated.
// Only an unacknowledged write is apart. So a stale read can show itself only where the machine finds nothing to do on
// the old record: then the trigger is lost, which is explored as the death of whoever had it, disk and all (an
// acceptance is read back, and reported again until the record has it). A broker that forgets is not explored. Progress
// events, positions and percentages are left out, and so are the earlier events that a progress event repeats
// (Options.Repeats takes them in). So is task.Positioned, which announces the position of a waiting task: it changes
// nothing that any other step reads, as a property test in package task shows, and what its write alone can do, to take
// the compare-and-set from an intent, is explored as an intent that is lost.
//
// # What has to hold
//
// In every state: one complete request per permit; bought no more often than allowed (once, max_paid_attempts under
// resubmit, or what a person allowed, who decides once per command); an attempt or task called free was not bought; an
// end is final; one terminal event, the record's; stored events are the record's story in its order; completed means
// finished at the provider; a reported reference is kept, is of what its own attempt bought, and is polled while the
// task is open, unless a later attempt is out; what is open has a heartbeat; what was answered with its result is not polled; a task at the provider ends by its word
// about that very request or is polled on; no timer leaves parked; every record's transitions pass Replay.
//
// From every state: the task can end with its event stored, or be parked, and a needed poll ticket can come back, both
// without luck: by timers, redelivered messages and the deaths of all processes alone, not by callbacks, persons or a
// submitter that lives on.
//
// # Running it
//
// go test ./internal/test/model explores at least 1,000,000 states, and finds every mutant of the protocol by the
// property that it breaks. With -model.long it explores more than 10,000,000. With -short or -race the bounds are small
// and the mutants are left out. -v prints the figures.
package model
