package emulator

import (
	"bytes"
	"encoding/json"
)

// A Script asks an emulator for the speed, the end or the faults of a job. A request carries it as the field
// "emulate" of its input; the real providers would refuse or ignore that field, so it never leaves a sandbox by
// accident.
type Script struct {
	// QueueMS and RunMS replace the emulator's own durations, in milliseconds.
	QueueMS *int `json:"queue_ms,omitempty"`
	RunMS   *int `json:"run_ms,omitempty"`
	// Position is the place in the provider's queue at acceptance.
	Position *int `json:"position,omitempty"`
	// Submit is what happens to the paid request:
	//   "accept_then_reset", "accept_then_500", "accept_then_502_html", "accept_then_hang", "accept_then_empty"
	//     accept (and so bill) it and lose the answer in that way;
	//   "reset_before" breaks the connection without accepting;
	//   "refuse_<code>" refuses it with the provider's own envelope, <code> an HTTP status (fal, MiniMax V2) or a
	//     base_resp code (MiniMax V1); "refuse_<code>_html" does with the page of a gateway before it;
	//   "refuse_308" sends it elsewhere;
	//   "repeat" answers it with the acceptance of the job before it, as a cache on the way would (fal).
	Submit string `json:"submit,omitempty"`
	// Polls is what the first PollFaults polls meet (all of them when PollFaults is 0):
	//   "reset", "hang", "empty", "unknown" (an unknown state word), "not_found", "regress" (back in the queue, fal),
	//   an HTTP status with the provider's envelope ("500"), with a web server's page ("502_html"), or "refuse_<code>";
	//   "gzip", "bom" and "redirect" are healthy answers in an odd form; "log_window" shows the newest log lines only and
	//   "big_logs" more than 4 MiB of them, where they are asked for (fal).
	Polls      string `json:"polls,omitempty"`
	PollFaults int    `json:"poll_faults,omitempty"`
	// Fail ends the job as failed: an HTTP status, an error type or a base_resp code that the provider documents.
	Fail string `json:"fail,omitempty"`
	// Stall keeps the job in its queue ("queued") or at work ("running") for ever.
	Stall string `json:"stall,omitempty"`
	// Cancel is how a cancel ends: "" takes effect, "ignored" lets the job succeed. Each emulator's doc names its own.
	Cancel string `json:"cancel,omitempty"`
	// ResultFaults is how many reads of the finished result fail first: with a page of HTTP 500, or as Result says.
	ResultFaults int `json:"result_faults,omitempty"`
	// Result is what a finished result is like. The job is made, and billed, all the same. Where reads of it are meant,
	// its webhook has no result.
	//   "<code>" and "<code>_html" are how the first ResultFaults reads fail: by that HTTP status, passed on by the
	//     provider's gateway without a reason of the model's, or as a web server's page;
	//   "no_file" names no file;
	//   and at fal "text" is a text in place of files, "data_<KiB>" a file that is its own link, of that size, "nsfw" is
	//     flagged, "error_in_200" an error object under 200 that bills no units.
	Result string `json:"result,omitempty"`
	// Link is what the first LinkFaults reads of the link to the result meet (all of them when LinkFaults is 0):
	//   "cut" breaks off and "stall" stops in the middle, "short" is the first half as if it were all, "type" another kind
	//   of file, "html" a page under 200, "redirect" leads to the same file and "loop" to itself, "bomb" expands to 64 MB,
	//   "refuse_<code>" is an HTTP status.
	// LinkLifeMS is how long after the end of the job the link works, in milliseconds; 0 leaves the emulator's own.
	Link       string `json:"link,omitempty"`
	LinkFaults int    `json:"link_faults,omitempty"`
	LinkLifeMS int    `json:"link_life_ms,omitempty"`
	// Webhook names the faults of the job's webhooks, with commas between: see Fault. WebhookDelayMS is how long
	// "delay" and "reorder" hold them back; 0 is a minute.
	Webhook        string `json:"webhook,omitempty"`
	WebhookDelayMS int    `json:"webhook_delay_ms,omitempty"`
}

// ReadScript returns the script inside a request body, or the zero Script.
func ReadScript(body []byte) Script {
	var b struct {
		Emulate Script `json:"emulate"`
	}
	if json.Unmarshal(body, &b) != nil { // a body without a readable script is an ordinary body
		return Script{}
	}
	return b.Emulate
}

// CheckScript says what of a script no emulator knows: a member, or the type of a value.
func CheckScript(script []byte) error {
	d := json.NewDecoder(bytes.NewReader(script))
	d.DisallowUnknownFields()
	return d.Decode(&Script{})
}
