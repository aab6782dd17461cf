// Package minimax emulates MiniMax's two video APIs (https://platform.minimax.io/docs/api-reference): V1 for the
// Hailuo, T2V, I2V and S2V models, V2 for MiniMax-H3 and MiniMax-H3-Max; and speech (t2a_async_v2, t2a_v2), music,
// images and voices (voice_clone, voice_design, get_voice, delete_voice). It serves real media, keeps a ledger of what
// was paid for and makes, on request, the faults that a client of a paid API must survive.
//
// # What differs from MiniMax
//
// Bodies are limited to 64 MB, no media input is fetched or checked but for uploads; a reference video counts as five
// seconds. What MiniMax does not document is a guess: an unknown V1 task is base_resp 2013, an unknown V2 task HTTP
// 400, both with words that say so; creates that are refused for another reason count against the rate limit.
//
// # Speech, music, images, voices
//
// All but t2a_async_v2 are answered with what they make, at once or after the script's run_ms. A sound is a second of
// silence as MP3, or a tone where the format is wav; it comes in hex, or as a link for "output_format":"url". The file
// of t2a_async_v2 is an archive (tar) with the sound and its timings, as MiniMax's is. A second voice of the same
// voice_id is refused with 2039. A voice is listed, and its fee charged, once a speech has used it. A file_id may be any
// number.
//
// # Uploads
//
// POST /v1/files/upload takes a file for one of MiniMax's purposes. V2 knows one for video_generation_input as
// mm_file://<file_id>, for seven days; a create that names another, or one of V1 that names any, is refused.
//
// # Limits
//
// Options.RPM and RPMV2 refuse creates with 1002 (V2: HTTP 429), and so does Options.InFlight of V2 while so many tasks
// are unfinished.
//
// # Money
//
// V1 is priced by clip, V2 by seconds of output and reference video and by images beyond the free ones, as its usage
// says. Only a task that has succeeded is charged for.
//
// # Callbacks
//
// A create with a callback_url is answered after its receiver has: POST {"challenge":"..."} must come back with the
// same value within 3 seconds. What happens otherwise is not documented: here the create is refused with 2013, or with
// Options.FailedChallenge the task runs without callbacks. Then comes an update at each change of the status, shaped
// like the answer to a query: V1 says processing, success or failed, V2 queued, running, succeeded, failed or
// cancelled. Nothing is signed, no order is promised and, without Options.WebhookRetries, there is one try of ten
// seconds for each; see Job.Deliveries.
//
// # Keys
//
// "sk-api-poor" has no balance (1008, HTTP 402 in V2), "sk-api-region" belongs to another region (2049, 401), no key at
// all is 1004 or 401. Every other key works.
//
// # Faults
//
// A prompt (V2: a text item) that contains #1026 is refused, #1027 fails at the end, #stall never ends, #unknown has an
// unknown state word while it runs. An emulator.Script in the body's field "emulate" can do all that its documentation
// tells and:
//
//	<code>                        in submit and polls: an HTTP status (V1: with an HTML page, as from a gateway) or, from 1000 on, a
//	                              base_resp code (V2: under the HTTP status that it is documented with)
//	submit "accept_then_<code>"   accept, and answer with that code
//	submit "accept_then_no_base_resp"   accept, and answer {}
//	polls "502_html", "empty", "hang", "no_base_resp"
//	fail "<code>" or "expired"    the verdict at the end
//	cancel "deleted"              the task ends just before the DELETE, which so deletes its record
//	cancel "running"              the task begins to run just before the DELETE, which is so refused
//	webhook "numeric_challenge"   the challenge is a number
//	webhook "drop", "duplicate", "delay", "before_reply"   faults of updates, see emulator.Fault
//	webhook "reorder"             an update comes after the last one of its task
//	webhook "null_payload"        an update of a success has no file_id, or no content
//	webhook "truncated"           an update ends after two thirds
//	webhook "forged"              an update about a task that does not exist comes first
//
// # Live control
//
//	GET  /_emulator/ledger   {"jobs":[...],"calls":{...},"submits":[...],"billed_usd":0.28}
//	POST /_emulator/limits   {"api":"v1","requests_per_minute":20,"in_flight":30}; what is left out stays, 0 is no limit
//	POST /_emulator/faults   {"shares":{"drop":0.1,"duplicate":0.05},"delay_ms":60000,"seed":1}; GET shows them
package minimax
