// Package lease elects the one process that dispatches a lane.
//
// # Terms
//
// Any number of processes are a Candidate for a lane. The lease of a lane is a key of the bucket reelay_leases that
// whoever is first creates, with a lifetime of TTL; it names the holder. A term lasts from there until the holder gives
// the lease back, or is not sure of it any more. The holder renews the lease every third of TTL; the others ask for it
// every sixth of TTL, so a lane whose holder stopped in good order has the next within a second of the usual six, and
// one whose holder was killed within TTL and a second.
//
// # The trust window
//
// The broker ends a lease TTL after it stored the last renewal. The holder trusts it for two thirds of TTL only,
// counted from before it began the last renewal that was acknowledged. So a holder stops before another can begin,
// whatever stood still: the process, its machine, or a renewal on its way. Lease.Check is asked again right before
// anything that rests on the lease.
//
// # Clocks
//
// No two clocks are compared. The broker counts a lifetime by its own clock. The holder counts the trust window by the
// monotonic clock and by the wall clock, whichever has gone further, as the one stands still while a machine sleeps and
// the other can be set. A candidate measures by its own clock how long a lease has stood unchanged: one that outlives
// its TTL, since it was written without a lifetime, counts as free and is replaced by compare-and-set. So does one that
// cannot be read, after LeaseTTL and not at once, since whoever held it before trusts it until then.
//
// # What fences money
//
// Not the lease. Two holders at once would send faster than the provider allows, and that is all: whether an attempt
// may be paid is decided by the compare-and-set of its task's record, which one of them wins. A lease makes it one
// process that knows what was sent, and whose count of requests is therefore right.
//
// # Hand-over
//
// What a holder has learned and no record tells it stores beside the lease, as bucket.HandOver, for the next one.
// Losing it costs refusals of the provider, and nothing else.
package lease
