// Package terminal makes the lines that commands paint over on a terminal: as wide as it is in its own columns, so that
// wide characters never wrap, with a bar for what is in progress and colours by meaning.
package terminal

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// A Meaning is what a colour stands for.
type Meaning int

// The meanings. Plain has no colour.
const (
	Plain Meaning = iota
	Good
	Working
	Doubtful
	Bad
	Faint
)

// codes are the colours of the meanings, in SGR parameters that every terminal has.
var codes = [...]string{Plain: "", Good: "32", Working: "36", Doubtful: "33", Bad: "31", Faint: "2"}

// A Style says whether colours are shown. The zero Style shows none.
type Style struct{ Colour bool }

// StyleOf returns the style of a process whose output is a terminal or is not: without colours where the variable
// NO_COLOR has a value (no-color.org), or the terminal is dumb.
func StyleOf(isTerminal bool, getenv func(string) string) Style {
	return Style{Colour: isTerminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// Paint gives a text the colour of its meaning. Paint what was cut already: colours have no width.
func (s Style) Paint(m Meaning, text string) string {
	if !s.Colour || codes[m] == "" || text == "" {
		return text
	}
	return "\x1b[" + codes[m] + "m" + text + "\x1b[0m"
}

// Width returns the columns of a text.
func Width(text string) int { return runewidth.StringWidth(text) }

// Cut returns as much of a text as fits into so many columns.
func Cut(text string, columns int) string { return runewidth.Truncate(text, max(0, columns), "") }

// Pad fills a text up to so many columns.
func Pad(text string, columns int) string { return runewidth.FillRight(text, columns) }

// barColumns is the width of a bar between its brackets.
const barColumns = 20

// Bar draws how much of a whole is done, from 0 to 1.
func Bar(done float64) string {
	n := int(min(1, max(0, done)) * barColumns)
	return "[" + strings.Repeat("#", n) + strings.Repeat("-", barColumns-n) + "]"
}
