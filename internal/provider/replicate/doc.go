// Package replicate speaks Replicate's API. What it knows is from Replicate's pages (docs/topics/predictions/lifecycle,
// docs/topics/webhooks, docs/reference/error-codes, changelog 2025-10-16), its client replicate@1.4.0, and its OpenAPI as
// tryAGI/Replicate@6b6e6e8 has it, read in November 2026.
//
//	POST /v1/models/{owner}/{name}/predictions       model owner/name: an official model, or one's newest version
//	POST /v1/predictions                             model owner/name:version, or the version alone
//	POST /v1/deployments/{owner}/{name}/predictions  model deployments/owner/name
//	GET  /v1/predictions/{id}                        starting, processing, succeeded, failed, canceled, aborted
//	POST /v1/predictions/{id}/cancel
//	GET  /v1/predictions                             list, newest first, 100 a page
//	POST /v1/files                                   a file for inputs, for a day
//
// The input of a task is that of the model; what Replicate wants around it is written by Render.
//
// Traps:
//
//   - Inputs, outputs and logs are removed an hour after the end. The prediction stays, with data_removed.
//   - "aborted" is a prediction that its deadline has ended before it began; it is not charged for. "canceled" may be the
//     same at work, and is.
//   - The output is whatever the model returns: a link, a list, an object, a text, nothing.
//   - A webhook is signed as https://www.standardwebhooks.com says, with a secret of the account. Replicate's own client
//     does not look at the time of a signature; the Verifier does.
//   - A refusal for the rate says in its body, not in a header, when to come again.
//
// A driver decides nothing about a task, see package provider.
package replicate
