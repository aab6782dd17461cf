// Package fal emulates fal's queue API (https://fal.ai/docs/model-apis/inference/queue): submit, status, status
// stream, result and cancel, down to status codes, headers and the keys of each body, with jobs that live by a pace or
// by a script, and sample media as results.
//
// Every key is accepted except "bad" (401) and "locked" (403, exhausted balance); no key is 401. Webhooks are not sent;
// the fal_webhook URL is kept in the ledger.
//
// The state of a job derives from its ledger entry and the clock, so a Server over a re-opened ledger continues every job.
package fal
