// Package openai speaks the dialect of OpenAI's video API, which servers for one's own GPUs have: SGLang Diffusion,
// vLLM-Omni, the proxy of LiteLLM and others. What it knows of them is from vLLM's page videos_api (vllm-omni@0131cb5),
// SGLang's video_api.py and protocol.py (sglang@00ae37c), and OpenAI's reference as it was in September 2026.
//
//	POST   /v1/videos               create, as JSON (SGLang) or as a form (vLLM-Omni)
//	GET    /v1/videos/{id}          status: queued, in_progress, completed, failed
//	GET    /v1/videos/{id}/content  the file
//	GET    /v1/videos               list
//	DELETE /v1/videos/{id}          aborts at vLLM-Omni; at SGLang it only forgets the record
//	POST   /v1/images/generations   is answered with the images
//	POST   /v1/audio/speech         is answered with the sound
//
// The model of a task says which of them makes it: images/<model> and speech/<model>, any other makes videos.
//
// Traps:
//
//   - Jobs are in the server's memory. After its restart it does not know them: 404 means lost with the server. Nothing
//     was charged for, but time of a GPU.
//   - Which form of a create a server takes shows only when it refuses the other: vLLM-Omni says of JSON that the field
//     "prompt" is missing.
//   - SGLang has no word for a job at work: it is "queued" until it is "completed".
//   - A DELETE of a finished job deletes its result.
//
// A driver decides nothing about a task, see package provider.
package openai
