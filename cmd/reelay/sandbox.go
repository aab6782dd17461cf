package main

import (
	"encoding/json"
	"fmt"
	"io"

	"reelay/events"
	"reelay/internal/emulator"
)

// addScript puts an emulator's script into a request's input, or into the options of what it wants. Its error is a
// usageError.
func addScript(r *events.Request, script string) error {
	into, field := &r.Input, "--input"
	if r.Want != nil {
		into, field = &r.Want.Options, "--options"
	}
	if len(*into) == 0 {
		*into = json.RawMessage("{}")
	}
	object, err := members(*into)
	if err != nil {
		return &usageError{fmt.Errorf("%s: %w", field, err)}
	}
	if _, err := members([]byte(script)); err != nil {
		return &usageError{fmt.Errorf("--emulate: %w", err)}
	}
	if err := emulator.CheckScript([]byte(script)); err != nil {
		return &usageError{fmt.Errorf("--emulate: %w; see: reelay help sandbox", err)}
	}
	object["emulate"] = json.RawMessage(script)
	*into, err = events.Marshal(object)
	return err
}

// printSandbox tells how an emulated provider is made to misbehave.
func printSandbox(w io.Writer) error {
	_, err := fmt.Fprint(w, `In the sandbox every provider is emulated. What an emulated provider does with a task is said by the member
"emulate" of the task's input, or of the options of what it wants, a JSON object:

  reelay run video --sandbox --prompt "a kite" \
      --emulate '{"result":"500","result_faults":3}'
  nats pub -J reelay.request.demo.video '{"provider":"...","model":"...","input":{"prompt":"a kite","emulate":{"fail":"422"}}}'

Speed and end
  queue_ms, run_ms   how long it queues and runs, in milliseconds; of a call that is answered with its result,
                     how long the answer takes
  position           its place in the provider's queue at the start
  fail               it fails: an HTTP status, an error type (content_policy_violation, startup_timeout, ...) or a
                     provider's own code (1027)
  stall              "queued" or "running": it never ends
  cancel             "ignored": a cancel has no effect

The paid request (submit)
  refuse_<code>           refused in the provider's own form: 429, 422, 402, 529, or a provider's own code such as 1008
  refuse_<code>_html      refused by the page of a gateway before the provider: 429, 404, 413
  refuse_308              sent elsewhere
  accept_then_reset       accepted, and billed, and the answer is lost; also _500, _502_html, _hang, _empty
  reset_before            the connection breaks before anything is accepted
  repeat                  answered with the acceptance of the request before it, as by a cache on the way *
  A voice is cloned, and a model such as music-2.6 or image-01 called, by one request that is answered with the result:
  there nothing finds a lost answer again, and only fail and result no_file say what comes of it.

Polls (polls; poll_faults is how many of the first polls, all if 0)
  reset, hang, empty, unknown, not_found, 500, 502_html, refuse_429
  regress                 back in the provider's queue *
  gzip, bom, redirect     a healthy answer in an odd form
  log_window, big_logs    the newest log lines only; more than 4 MiB of them *

The finished result (result; result_faults is how many of the first reads fail)
  <code>, <code>_html     how these reads fail; without it with a page of HTTP 500
  no_file                 it names no file
  text, nsfw              a text in place of files; flagged by the provider *
  data_<KiB>              a file that is its own link, of that size *
  error_in_200            an error object under HTTP 200, nothing billed *

The link to the result (link; link_faults is how many of the first reads meet it, all if 0)
  cut, stall, short       breaks off or stops in the middle; the first half, sent as if it were all
  type, html              another kind of file; a page under HTTP 200
  redirect, loop          to the same file; to itself
  refuse_<code>           an HTTP status
  link_life_ms            how long the link works after the end, in milliseconds

Webhooks (webhook, several with commas; webhook_delay_ms)
  drop, duplicate, delay, reorder, before_reply, bad_signature, old_timestamp, null_payload, truncated, forged, stranger,
  numeric_challenge

What has a * is known only by emulators of providers that have it; the others do as if nothing was asked.
`)
	return err
}
