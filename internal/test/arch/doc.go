// Package arch holds the rules between packages, as tests that say why.
package arch
