// Package fal drives fal's queue API (https://fal.ai/docs/model-apis/inference/queue).
//
// # What fal promises and what it does not
//
// A submit answers with a request id at once; every later call names the app (owner/name, without the rest of the
// model's path) and that id. There is no idempotency key: a submit sent twice is paid twice. A request is IN_QUEUE,
// IN_PROGRESS or COMPLETED, and may fall back to IN_QUEUE when its runner is lost. COMPLETED does not mean success: the
// HTTP code of the result decides, and the result has the code, headers and body of the model itself. A result is kept
// for an hour, or six minutes when it is 10 kB or more, unless the account stores payloads.
//
// # How this package reads it
//
// Only fal's own words count: its JSON envelopes and x-fal-* headers. A page of a middlebox, an empty body or a
// broken one says nothing about a request, whatever its HTTP code. A submit is then in doubt, a poll has failed.
package fal
