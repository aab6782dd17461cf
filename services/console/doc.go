// Package console shows reelay to people, in a browser: what waits and why, what it costs and when it will be done.
//
// It is a thin client of the contract and keeps nothing: whatever a page shows, `nats req` can show, and whatever it does
// is asked for by subject, with the user's name. Pages are rendered here and can be read without JavaScript. Those that
// show what moves are kept up to date by server-sent events, each of which carries a part of the page, whole and as it
// now is. Their ids are sequences of the stream of events, so that a browser that comes back misses nothing, whichever
// replica it finds.
//
// Texts of tasks, providers and strangers are escaped wherever they stand; links lead to http, https or the console
// itself, and no page runs a script but the console's own. Files that tasks have made are handed through from the
// archiver: those of a few types of media are played, everything else can only be saved.
package console
