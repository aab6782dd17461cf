// Package spend keeps what is spent in a day within caps: for a project, for a lane, and for everything.
//
// # How a cap holds
//
// A counter for each cap and day says what is taken. Before an attempt is paid its money is reserved there by
// compare-and-set, so that any number of submitters together never take more than the cap. Where there is no cap
// nothing is read or written. What a reservation cannot know, the truth does: the records of the tasks hold what each
// attempt costs. The status service, which knows them all, counts them into the counters every few seconds: what was
// reserved longer ago than Horizon is replaced by what the records say. So a counter heals, whatever was lost:
//
//   - A crash between the reservation and the intent leaves money reserved that nobody spends, for Horizon.
//   - A refused or unsent attempt gives its money back at once; if it cannot, within Horizon.
//   - An attempt in doubt keeps its money: its record says so.
//   - An attempt that cost more or less than expected counts at its price, after Horizon at the latest.
//
// Nothing is ever counted too low: a record shows its attempt long before Horizon has passed since the reservation. A
// process that stood still in between must not spend on it any more: Reservation.Fresh is asked before the last byte of
// the request leaves. That rests on clocks that differ by less than half of Horizon.
//
// # What waits for whom
//
// A cap that was set or changed today counts from the moment at which the records have been counted into its counter;
// until then nothing that it covers is paid. So a change of a cap needs a status service that runs, and nothing else
// does.
package spend
