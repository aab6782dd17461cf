// Package replicate is an emulator of Replicate's API. It is written from Replicate's pages and its client replicate@1.4.0,
// and shares no code with the pipeline.
//
// What a prediction does is told by its script, see emulator.Script, in the member "emulate" of its input. Submit, Polls,
// Stall, Fail, ResultFaults, Link, Webhook and the times are as documented there; the reads that ResultFaults means are those
// of a prediction that has succeeded. Fail is the code of the error, such as E005 for what a filter holds back. Result is
// "text", "no_file", or "object" for links deep in an object. Cancel is "ignored": it is answered, and the prediction goes on.
//
// What a model makes is told by its name, videos if by nothing in it; the pictures of an input's num_outputs are a list, all
// else is one link. Inputs, outputs and logs are removed an hour after the end, see Options.Kept. Webhooks are sent for the
// end only, signed with Secret.
package replicate
