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
// A request has failed when fal says so itself: by an error type (of the body or of X-Fal-Error-Type), or by a model's
// list of complaints. Any other answer instead of the result may pass while the work is done and billed, such as a 504
// on the way to it: the failure is then unconfirmed, and the page of a middlebox says nothing at all.
//
// A submit is refused where the answer proves that nothing was queued, whoever gives it: a refusal in fal's envelope, a
// 429, a redirect, a proxy's page. Otherwise it is in doubt.
//
// A result is what the model made of it. The links in it are its files, under whatever name; a model may as well make
// text or numbers, and then there are none.
package fal
