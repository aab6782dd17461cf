// Package quota counts what a provider grants: requests in a window of time, and how much of a limit that the provider enforces
// and does not tell. It has no clock and no lock.
package quota
