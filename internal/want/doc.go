// Package want turns what a request wants, events.Want, into the input that a model takes. It is pure: no broker, no
// network, no clock.
//
// What it knows of models is data, wants.json: which ids a family has, which endpoint takes which pictures, what each wish
// is called there and how a duration is spelled, and a copy of the input's schema, row by row with source and date.
// A schema that the provider serves may take the place of the copy (ParseOpenAPI): the names of the table then still
// say where a wish goes, and the served schema what it may be.
//
// A wish is fulfilled exactly or not at all. What a model cannot do is an Unsupported that names the allowed values,
// or, for a lenient request, a warning. Nothing is left out or changed in silence, and no input is made that the schema
// refuses.
package want
