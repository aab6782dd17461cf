package console

import (
	"fmt"
	"math"
	"time"
)

// The size of a plot, in units of its own, and the width of one bar with its gap.
const (
	plotHeight = 64
	barWidth   = 10
)

// A plot is a row of stacked bars, as a template draws it.
type plot struct {
	Width, Height int
	Bars          []bar
	// Top says what the full height stands for; Text says it all in words.
	Top, Text string
	Empty     bool
}

// A bar is one part of a stack.
type bar struct {
	X, Y, Height, Width float64
	Class, Title        string
}

// A column is one stack of a plot, with its parts from below.
type column struct {
	name, text string
	values     []float64
}

// throughput plots how many tasks have ended.
func throughput(all []count) plot {
	return stacked(columns(all, func(c count) ([]float64, string) {
		return []float64{float64(c.Completed), float64(c.Failed), float64(c.Cancelled)},
			fmt.Sprintf("%d completed, %d failed, %d cancelled", c.Completed, c.Failed, c.Cancelled)
	}), "Tasks that have ended", func(top float64) string { return fmt.Sprintf("%.0f in %s", top, span(plotStep)) })
}

// spending plots what ended tasks have cost.
func spending(all []count) plot {
	return stacked(columns(all, func(c count) ([]float64, string) { return []float64{c.USD}, usd(c.USD) }),
		"Cost of what has ended", func(top float64) string { return usd(top) + " in " + span(plotStep) })
}

func columns(all []count, parts func(count) ([]float64, string)) (columns []column) {
	for i, c := range all {
		values, text := parts(c)
		columns = append(columns, column{span(plotStep*time.Duration(len(all)-1-i)) + " ago", text, values})
	}
	return columns
}

// classes are those of the parts of a stack, from below.
func classes() []string { return []string{"bar-ok", "bar-bad", "bar-plain"} }

func stacked(all []column, what string, scale func(float64) string) plot {
	p := plot{Width: len(all) * barWidth, Height: plotHeight}
	top := 0.0
	for _, c := range all {
		top = math.Max(top, sum(c.values))
	}
	if p.Empty = top == 0; p.Empty {
		return p
	}
	p.Top = scale(top)
	p.Text = fmt.Sprintf("%s, as bars; the highest is %s.", what, p.Top)
	for i, c := range all {
		y := float64(plotHeight)
		for j, v := range c.values {
			if v == 0 {
				continue
			}
			h := math.Max(1, v/top*plotHeight)
			y -= h
			p.Bars = append(p.Bars, bar{
				X: float64(i*barWidth) + 1, Y: math.Max(0, y), Width: barWidth - 2, Height: h, Class: classes()[j],
				Title: c.name + ": " + c.text,
			})
		}
	}
	return p
}

func sum(all []float64) (total float64) {
	for _, v := range all {
		total += v
	}
	return total
}
