// Package dependency reads what became of the tasks that a waiting task depends on. Read says whether it may be sent,
// Cycle whether it waits for itself, Resolve puts the values of references into its input. It reads records and
// changes none: what follows is a step of package task, and whoever asks takes it.
//
// # How a task is released
//
// No write says that one of several dependencies has ended: their own records do. A submitter sees by its watch of the
// records when a task ends that others wait for, and reads what those wait for then; at its start it does so for all that wait,
// and again every few minutes. It reads the records of the dependencies as the leader of the stream has them, so what it
// finds ended has ended, and the release is one compare-and-set of the waiting record. A crash before it loses nothing,
// and another submitter that does the same finds it done.
//
// # Cycles
//
// Of several requests that wait for each other in a circle, whichever is stored last finds the records of all others:
// so the circle is searched for before a record is created, where the request can still be refused, and again after, for
// those that were taken in at the same time elsewhere. What is found then fails. Once more it is searched for when a task
// still waits at its deadline.
package dependency
