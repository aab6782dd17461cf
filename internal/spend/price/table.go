package price

import (
	"bytes"
	_ "embed" // the table
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"reelay/internal/smallfile"
)

const (
	// maxFileBytes bounds a table of the operator's own.
	maxFileBytes = 1 << 20
	// maxUSD bounds the price of one unit, maxDefault a quantity that stands in for one the input does not name.
	maxUSD     = 10_000
	maxDefault = 1_000_000
)

// ErrTable is matched by every error about what a table says.
var ErrTable = errors.New("price table")

//go:embed prices.json
var embedded []byte

// A Unit is what a price is for one of.
type Unit string

// The units.
const (
	// Clip: one request, whatever it makes. The price is known beforehand and needs no figure of the provider.
	Clip Unit = "clip"
	// Second of output, as the input's duration says.
	Second Unit = "second"
	// Image, as the row's count, or num_images, says.
	Image Unit = "image"
	// Megapixel of each image, begun ones counted whole; the named sizes of fal's models all have at most one.
	Megapixel Unit = "megapixel"
	// Character of the input's text, else of its prompt.
	Character Unit = "character"
)

func units() []Unit { return []Unit{Clip, Second, Image, Megapixel, Character} }

// A row is the prices of some models.
type row struct {
	Provider string   `json:"provider"`
	Models   []string `json:"models"`
	Unit     Unit     `json:"unit"`
	// Count is the member of the input that says how many images there are; num_images if it is empty.
	Count string `json:"count,omitempty"`
	// Default is how many units an input asks for that does not say.
	Default float64 `json:"default,omitempty"`
	// Rates are tried in order; without one that fits, the price is not known.
	Rates []rate `json:"rates"`
	// FreeImages images in the content of an input are free, each further one costs ImageUSD.
	FreeImages int     `json:"free_images,omitempty"`
	ImageUSD   float64 `json:"image_usd,omitempty"`
	// VideosAsOutput: a video in the content costs as much by the second as the output; each is taken to be as long as
	// that until the provider tells. Where it is false, the price of an input with a video is not known.
	VideosAsOutput bool `json:"videos_as_output,omitempty"`
	// Source is the provider's page, AsOf the day on which it was read.
	Source string `json:"source"`
	AsOf   string `json:"as_of"`
}

// A rate is the price of one unit. When names members of the input, and for each the values with which the rate holds,
// as text; "" stands for a member that is left out.
type rate struct {
	When map[string][]string `json:"when,omitempty"`
	USD  float64             `json:"usd"`
}

// A Table is a set of prices. It is never changed. A nil Table knows no price.
type Table struct {
	rows map[key]row
}

type key struct{ provider, model string }

// Load returns the table of this build. path, if not empty, names a file of the same form (see prices.json) whose
// models take the place of the same models here. Its error matches ErrTable and names the row and the field, or is one
// of the file.
func Load(path string) (*Table, error) {
	t := &Table{rows: map[key]row{}}
	if err := t.add(embedded); err != nil || path == "" {
		return t, err
	}
	own, err := smallfile.Read(path, maxFileBytes)
	if errors.Is(err, smallfile.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrTable, err)
	}
	if err != nil {
		return nil, err
	}
	over := &Table{rows: map[key]row{}}
	if err := over.add(own); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	maps.Copy(t.rows, over.rows)
	return t, nil
}

func (t *Table) add(data []byte) error {
	var file struct {
		Prices []row `json:"prices"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return fmt.Errorf("%w: %w", ErrTable, err)
	}
	for i, r := range file.Prices {
		if err := r.check(); err != nil {
			return fmt.Errorf("%w: row %d: %w", ErrTable, i+1, err)
		}
		for _, model := range r.Models {
			k := key{r.Provider, model}
			if _, ok := t.rows[k]; ok {
				return fmt.Errorf("%w: row %d: models: %s %s has a row already", ErrTable, i+1, r.Provider, model)
			}
			t.rows[k] = r
		}
	}
	return nil
}

func (r row) check() error {
	_, dateErr := time.Parse(time.DateOnly, r.AsOf)
	switch {
	case r.Provider == "":
		return errors.New("provider: is missing")
	case len(r.Models) == 0 || slices.Contains(r.Models, ""):
		return errors.New("models: is missing or has an empty one")
	case !slices.Contains(units(), r.Unit):
		return fmt.Errorf("unit: %q is not one of %v", r.Unit, units())
	case r.Unit != Character && r.Unit != Clip && r.Default <= 0, !finite(r.Default, maxDefault):
		return fmt.Errorf("default: %v is not above 0 and at most %d", r.Default, maxDefault)
	case len(r.Rates) == 0:
		return errors.New("rates: is missing")
	case r.FreeImages < 0:
		return fmt.Errorf("free_images: %d is negative", r.FreeImages)
	case !finite(r.ImageUSD, maxUSD):
		return fmt.Errorf("image_usd: %v is not between 0 and %d", r.ImageUSD, maxUSD)
	case r.Source == "":
		return errors.New("source: is missing")
	case dateErr != nil:
		return fmt.Errorf("as_of: %q is not a day such as 2026-01-31", r.AsOf)
	}
	for _, rate := range r.Rates {
		if !finite(rate.USD, maxUSD) {
			return fmt.Errorf("rates: usd: %v is not between 0 and %d", rate.USD, maxUSD)
		}
	}
	return nil
}

func finite(v, most float64) bool { return v >= 0 && v <= most && !math.IsNaN(v) }
