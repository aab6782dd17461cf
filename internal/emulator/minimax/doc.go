// Package minimax emulates MiniMax's two video APIs (https://platform.minimax.io/docs/api-reference): V1 for the Hailuo,
// T2V, I2V and S2V models, V2 for MiniMax-H3 and MiniMax-H3-Max. It serves real media, keeps a ledger of what was paid for
// and makes, on request, the faults that a client of a paid API must survive.
//
// # What differs from MiniMax
//
// Bodies are limited to 1 MiB (V2: 64 MB), no media input is fetched or checked, callbacks are not sent. What MiniMax does not
// document is a guess: an unknown V1 task is base_resp 2013, an unknown V2 task HTTP 400, both with words that say so;
// creates that are refused count against the rate limit.
//
// # Keys
//
// "sk-api-poor" has no balance (1008, HTTP 402 in V2), "sk-api-region" belongs to another region (2049, 401), no key at all is
// 1004 or 401. Every other key works.
//
// # Faults
//
// A prompt (V2: a text item) that contains #1026 is refused, #1027 fails at the end, #stall never ends, #unknown has an unknown
// state word while it runs. An emulator.Script in the body's field "emulate" can do all that its documentation tells and:
//
//	<code>                        in submit and polls: an HTTP status (V1: with an HTML page, as from a gateway) or, from 1000 on, a
//	                              base_resp code (V2: under the HTTP status that it is documented with)
//	submit "accept_then_<code>"   accept, and answer with that code
//	submit "accept_then_no_base_resp"   accept, and answer {}
//	polls "502_html", "empty", "hang", "no_base_resp"
//	fail "<code>" or "expired"    the verdict at the end
//	cancel "deleted"              the task ends just before the DELETE, which so deletes its record
//	cancel "running"              the task begins to run just before the DELETE, which is so refused
package minimax
