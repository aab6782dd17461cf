// Package forecast learns how long the providers take, says when a task will end, and when to look at it next. It has no clock
// and does no I/O.
//
// # What is learned
//
// A finished task is a Sample of three spans: the provider's wait (submit to start), its run (start to end) and the whole. Each
// sample is learned on three levels: the size class of the input, its model, and its provider and task type; the last stands on a
// broad lognormal of the task type. A level keeps a short and a long memory of each span, both decayed quantile sketches, and the
// odds of the short memory, the long one and the level above, by how well each has foretold the samples so far. So a level that
// knows little hands on what the one above knows; and a provider that becomes faster or slower makes the long memory a bad
// prophet, and the short one takes over within a few samples, without a threshold to tune.
//
// # What is told
//
// All answers come from a Curve, the share of tasks that take longer than a time, and are conditional on the time that has gone
// already: a task that has run for longer than most is not "due any second".
//
// # When to look
//
// A task is looked at when the time for which its end is likely to have gone unnoticed adds up to the price of a look, in
// seconds. The price is the one at which ends are noticed as late, on the mean, as by a fixed interval; the looks saved are
// those at times at which nothing ends. The curve is mixed with the broad one, so that a provider that becomes faster is not
// missed. Where callbacks are heard, only the share that goes missing counts, which thins the looks out by itself.
package forecast
