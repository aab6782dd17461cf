// Package fal emulates fal's queue API (https://fal.ai/docs/model-apis/inference/queue): submit, status, status stream,
// result, cancel and webhooks, down to status codes, headers and the keys of each body, with jobs that follow a speed
// or by a script, and sample media as results; of the platform API the list of requests and the prices.
//
// Every key is accepted except "bad" (401) and "locked" (403, exhausted balance); no key is 401.
//
// The state of a job derives from the ledger and the clock, so a Server over a re-opened ledger continues every job.
//
// # Limits
//
// With Options.Concurrency so many jobs run at once and the others wait in the order in which they were accepted; no
// submit is refused for it. Options.RPM, which fal does not have, refuses with 429.
//
// # Storage
//
// Files of requests are taken as by fal's own client: POST /storage/upload/initiate and -multipart, then PUT to the
// address in the answer. X-Fal-Object-Lifecycle says how long a file is kept. A submit that names a file of this storage
// which never came, or is gone, is refused with 422. What fal checks at the submit and what only its workers find is not
// documented.
//
// # Money
//
// A few models have the prices of their pages, with and without sound; of the others a second of video is 0.07 USD, an
// image 0.025, a thousand characters of speech 0.05. X-Fal-Billable-Units of a result is how many; GET
// /v1/models/pricing tells the prices. Failures are free but for "content_policy_violation" and "no_media_generated",
// which a model finds only after it has worked; cancelled jobs are free.
//
// # Webhooks
//
// One is sent to fal_webhook when a job has ended, also when it was cancelled or missed its start timeout, signed
// with the Ed25519 key that is first at GET /.well-known/jwks.json. It counts as delivered with any 2xx; a redirect
// ends it; anything else, or no answer within 15 seconds, is tried again, ten times within two hours (times
// Options.WebhookRetryScale), each try with a new timestamp and signature. Receivers on loopback are served, which
// fal does not do. What became of a webhook is in Job.Deliveries.
//
// # Faults
//
// An emulator.Script in the input's field "emulate" can do all that its documentation tells. Its "webhook", and
// Options.Faults for a share of all webhooks, know:
//
//	drop             it is never sent
//	duplicate        it is sent once more after it was accepted
//	delay            it is sent a minute late (webhook_delay_ms, delay_ms)
//	reorder          it is held back for a part of that time, so that webhooks change places
//	before_reply     the submit is answered after the webhook, or after 30 seconds
//	bad_signature    the first try has one wrong bit in its signature
//	old_timestamp    the first try was signed an hour ago
//	null_payload     it has "payload": null and a payload_error; the result is at the queue
//	truncated        its body ends after two thirds, and is signed as it is
//	forged           one for a request id that does not exist comes first, with a good signature
//	stranger         one for another customer of fal comes first, with a good signature
//
// # Live control
//
//	GET  /_emulator/ledger   {"jobs":[...],"calls":{...},"submits":[...],"billed_usd":0.35}
//	POST /_emulator/limits   {"concurrency":2,"requests_per_minute":20}; what is left out stays, 0 is no limit
//	POST /_emulator/faults   {"shares":{"drop":0.1,"duplicate":0.05},"delay_ms":60000,"seed":1}; GET shows them
//	POST /_emulator/rotate   another key signs from now on; the set has it and the former one
package fal
