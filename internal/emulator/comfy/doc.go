// Package comfy is an emulator of ComfyUI and of Comfy API v2 before one. It is written from ComfyUI's server.py (@002c3fb),
// comfy_execution/jobs.py (@172be43) and Comfy-Org/docs openapi-v2.yaml (@058ac16), and shares no code with the pipeline.
//
// A job is known to the process that took it: after a restart, and after POST /_emulator/restart, which stands for one, it is
// not found. The ledger has it all the same. The same prompt_id sent twice runs twice: the ledger has the second as
// <prompt_id>.2. At v2 a key that was used before is refused. Nothing is billed.
//
// What a job does is told by its script, see emulator.Script, in the member "emulate" of its graph. Submit, Polls, Stall, Fail,
// ResultFaults, Link and the times are as documented there; the reads that ResultFaults means are those of a finished job.
// Fail is the type of the exception. Cancel is "ignored". Outputs come of the nodes whose class saves or previews something.
package comfy
