// Package archtest holds the rules between packages, as tests that say why.
package archtest
