package price

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Quote is what one paid request costs as far as the table tells.
type Quote struct {
	// Known: the table has a price. Everything else is empty without it.
	Known bool
	// USD is the expected cost.
	USD float64
	// FixedUSD does not depend on what the provider counts. ByUnits: to it comes UnitUSD for each unit that the provider
	// reports; otherwise FixedUSD is all, and equal to USD.
	FixedUSD float64
	ByUnits  bool
	UnitUSD  float64
	// Basis says in words how USD comes about, with source and date of the price.
	Basis string
}

// Quote prices one request. input is a JSON object; what of it cannot be read counts as left out.
func (t *Table) Quote(provider, model string, input json.RawMessage) Quote {
	if t == nil {
		return Quote{}
	}
	r, ok := t.rows[key{provider, model}]
	if !ok {
		return Quote{}
	}
	in := parse(input)
	images, videos := in.count("image_url"), in.count("video_url")
	if videos > 0 && !r.VideosAsOutput {
		return Quote{}
	}
	for _, rate := range r.Rates {
		if !in.fits(rate.When) {
			continue
		}
		n := r.quantity(in) * float64(1+videos)
		extra := float64(max(0, images-r.FreeImages)) * r.ImageUSD
		q := Quote{
			Known: true, USD: Round(n*rate.USD + extra), FixedUSD: Round(extra), ByUnits: r.Unit != Clip,
			UnitUSD: rate.USD,
		}
		q.Basis = fmt.Sprintf("%s %s at %s USD", number(n), r.Unit, number(rate.USD))
		if extra > 0 {
			q.Basis += fmt.Sprintf(" and %s USD for images", number(Round(extra)))
		}
		q.Basis += fmt.Sprintf(" (%s, %s)", r.Source, r.AsOf)
		if !q.ByUnits {
			q.FixedUSD, q.UnitUSD = q.USD, 0
		}
		return q
	}
	return Quote{}
}

// A Rate is the price of one unit of a model.
type Rate struct {
	Unit Unit
	USD  float64
	// When are the members of an input with whose values it holds; "" stands for one that is left out.
	When   map[string][]string
	Source string
	AsOf   string
}

// Rates returns the prices of a model, none if the table knows none.
func (t *Table) Rates(provider, model string) []Rate {
	if t == nil {
		return nil
	}
	var all []Rate
	r := t.rows[key{provider, model}]
	for _, rate := range r.Rates {
		all = append(all, Rate{Unit: r.Unit, USD: rate.USD, When: rate.When, Source: r.Source, AsOf: r.AsOf})
	}
	return all
}

// Round rounds an amount to a millionth of a dollar.
func Round(usd float64) float64 { return math.Round(usd*1e6) / 1e6 }

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// maxQuantity keeps what an input claims to ask for within reason.
const maxQuantity = 1e6

// quantity returns how many units the input asks for.
func (r row) quantity(in input) float64 {
	n := 1.0
	switch r.Unit {
	case Second:
		n = in.seconds(r.Default)
	case Image:
		n = in.number(cmp.Or(r.Count, "num_images"), r.Default)
	case Megapixel:
		n = in.number("num_images", 1) * in.megapixels(r.Default)
	case Character:
		n = float64(in.characters())
	}
	return min(n, maxQuantity)
}

// input is the members of a request's input.
type input map[string]json.RawMessage

func parse(raw json.RawMessage) input {
	var in input
	if json.Unmarshal(raw, &in) != nil {
		return nil
	}
	return in
}

// fits reports whether every member named in when has one of its values.
func (in input) fits(when map[string][]string) bool {
	for name, values := range when {
		got, ok := in.text(name), false
		for _, v := range values {
			ok = ok || strings.EqualFold(v, got)
		}
		if !ok {
			return false
		}
	}
	return true
}

// text returns a member as text: a string as it is, a number or a truth as it is written, "" for one that is left out,
// null or empty.
func (in input) text(name string) string {
	raw := strings.TrimSpace(string(in[name]))
	var s string
	switch {
	case raw == "null" || raw == "[]" || raw == "{}":
		return ""
	case json.Unmarshal(in[name], &s) == nil:
		return s
	}
	return raw
}

// number returns a positive number, also one in a string such as "5" or "8s", or otherwise.
func (in input) number(name string, otherwise float64) float64 {
	if n, err := strconv.ParseFloat(strings.TrimSuffix(in.text(name), "s"), 64); err == nil && n > 0 && n <= maxQuantity {
		return n
	}
	return otherwise
}

// seconds returns the length of the output. A list of shots, each with a length of its own, counts where it is longer.
func (in input) seconds(otherwise float64) float64 {
	var shots []input
	_ = json.Unmarshal(in["multi_prompt"], &shots) // what is no list has no shots
	sum := 0.0
	for _, s := range shots {
		sum += s.number("duration", 0)
	}
	return max(in.number("duration", otherwise), sum)
}

// megapixels returns the size of one image.
func (in input) megapixels(otherwise float64) float64 {
	var size input
	if json.Unmarshal(in["image_size"], &size) != nil {
		return otherwise
	}
	w, h := size.number("width", 0), size.number("height", 0)
	if w*h == 0 {
		return otherwise
	}
	return math.Ceil(w * h / (1 << 20))
}

// characters returns the length of what is spoken. A model reads one of the two and leaves the other aside: the longer
// counts, as nothing says which.
func (in input) characters() int {
	return max(utf8.RuneCountInString(in.text("text")), utf8.RuneCountInString(in.text("prompt")))
}

// count returns how many items of a type the input's content has.
func (in input) count(kind string) int {
	var items []struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(in["content"], &items) // what is no list has no items
	n := 0
	for _, item := range items {
		if item.Type == kind {
			n++
		}
	}
	return n
}
