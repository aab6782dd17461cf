// Package openai is an emulator of servers for one's own GPUs that speak OpenAI's video API: vLLM-Omni, SGLang Diffusion,
// and proxies before them. It is written from vLLM's page videos_api (vllm-omni@0131cb5) and SGLang's video_api.py and
// protocol.py (sglang@00ae37c), and shares no code with the pipeline.
//
// A job is known to the process that took it: after a restart, and after POST /_emulator/restart, which stands for one,
// it is answered with 404. The ledger has it all the same. Nothing is billed.
//
// What a job does is told by its script, see emulator.Script, in the member "emulate" of a JSON create or in a field of that
// name of a form. Submit, Polls, Stall, Fail, ResultFaults, Link and the times are as documented there; the reads that
// ResultFaults means are those of the status of a finished job. Fail is the code of the error. Cancel is "ignored" (the
// DELETE is answered and the job goes on) or "refused" (405).
//
// Images and speech are the answer to their create, which takes run_ms if the script says so, and are no jobs that could be
// asked about. With response_format "url" an image is a link to the server itself.
//
// The three kinds of servers differ, see Kind.
package openai
