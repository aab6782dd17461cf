// Package price knows what providers charge. A table, a data file with its source and date row by row, turns a model
// and an input into a Quote: what one paid request is expected to cost, and how the provider's own figures become what
// it did cost.
//
// The quote is made once, when a task is accepted, and goes into its record: a price that changes later changes no task
// that was accepted before, and settling needs no table.
//
// What a table does not know it does not guess: Quote.Known is false then. Amounts are US dollars, rounded to a
// millionth.
package price
