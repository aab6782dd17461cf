// Package forecast learns how long the providers take, predicts when a task will end, and schedules the next poll. It
// has no clock and does no I/O.
//
// # What is learned
//
// A finished task is a Sample of three durations: the provider's wait (submit to start), its run (start to end) and
// the whole. Each sample is learned on three levels of a hierarchy: the size class of the input, its model, and its
// provider and task type; above the last stands the prior, a broad lognormal of the task type. A level keeps a
// short-term and a long-term quantile sketch of each duration, both with a half-life. These two and the parent level
// are its predictors. Their odds follow from how well each has predicted the samples so far, and the posterior is the
// mixture by these odds. So a level that knows little passes on what its parent knows; and when a provider becomes
// faster or slower, the long-term predictor gets worse and the short-term one takes over within a few samples,
// without a threshold to tune.
//
// # What is predicted
//
// All answers come from a Curve, the share of tasks that take longer than a time, and are conditional on the time
// that has passed already: a task that has run for longer than most is not "due any second".
//
// # When to poll
//
// A task is polled when the time for which its end has probably gone unnoticed adds up to the cost of a poll, in
// seconds. The cost is chosen so that the mean detection lag is that of a fixed interval; the polls saved are those
// at times at which nothing ends. The curve is mixed with the prior, so that the schedule notices a provider that
// becomes faster. Where callbacks arrive, only the share of ends that they miss counts, so that polling slows down by
// itself.
package forecast
