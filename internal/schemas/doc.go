// Package schemas keeps what providers serve of the inputs of their models: in a process for an hour, in KV for a day.
// Whoever sends for a lane answers other services, which call no provider, so that what is said of a model beforehand
// is what its requests are checked against.
package schemas
