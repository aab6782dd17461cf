// Package comfy speaks to ComfyUI, in two dialects: that of its core, and Comfy API v2, which comfy-api-proxy serves before
// one. A base URL that ends in /api/v2 is of the second. What it knows is from ComfyUI's server.py (@002c3fb) and
// comfy_execution/jobs.py (@172be43), and from Comfy-Org/docs openapi-v2.yaml (@058ac16), read in November 2026.
//
//	core                            v2
//	POST /prompt                    POST /api/v2/jobs              Idempotency-Key
//	GET  /api/jobs/{id}             GET  /api/v2/jobs/{id}
//	GET  /queue                     in the job                     the place in line
//	POST /api/jobs/{id}/cancel      POST /api/v2/jobs/{id}/cancel
//	GET  /view                      url of an output
//	POST /upload/image              POST /api/v2/assets
//
// The input of a task is a workflow in the API's format. Its model is a name for it, by which forecasts tell workflows apart.
//
// A lost answer: at a core the id of a job is chosen here, made of the task and its attempt, and asked for. It is a key to
// look things up by and no more: the same id sent twice runs twice, so each attempt has another. An older core ignores the
// id and makes its own; there the job is known by its graph. At v2 the key of the request is made of the task alone: where
// the first request has arrived, the second is refused by 422 idempotency_key_reuse, and nothing runs twice. v2 lists no
// jobs; where the core's list is served beside it, the job is found there by its graph.
//
// Traps:
//
//   - Jobs are in the server's memory. After its restart it does not know them.
//   - A pending job that is cancelled is forgotten.
//   - POST /interrupt without an id ends whatever runs. It is never sent; with an id it is sent to older cores alone, and
//     only while they say that the job runs, for they may not read the id.
//   - A workflow as the editor saves it is none that the API takes.
//
// A driver decides nothing about a task, see package provider.
package comfy
