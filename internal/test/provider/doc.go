// Package providertest is the conformance suite of the provider drivers: what every one of them promises to the
// services, checked against the provider's emulator over real HTTP.
//
// A driver's tests call Run with a Harness. Every state of a task is reached by a script (emulator.Script), so nothing
// here waits. What only one provider has (its codes, its envelopes, its odd bodies) belongs in that driver's own tests.
package providertest
