package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"reelay/events"
)

// requestFlags is a task as it is asked for on the command line.
type requestFlags struct {
	TaskType        string `arg:"" help:"What to make: video, image, audio, speech, voice or music." enum:"video,image,audio,speech,voice,music"`
	Provider        string `help:"Provider, or the lane of one of its accounts: ${providers}, ... (default: the model's)."`
	Model           string `help:"The provider's own model or endpoint id, or an alias; see: reelay models (default: one for what to make)."`
	Prompt          string `help:"What to make, in words. Put into the input where the provider expects it."`
	Input           string `help:"File with the provider's own input as a JSON object, sent as it is but for texts such as file:frame.png; - for standard input." placeholder:"FILE"`
	wantFlags       `embed:""`
	File            map[string]string `help:"File for a place in the input or in what is wanted: a field or a JSON pointer; may be repeated." mapsep:"none" placeholder:"PLACE=FILE"`
	Project         string            `help:"Project of the task." env:"REELAY_PROJECT" default:"default"`
	ID              string            `name:"id" help:"Task id. The same id twice is the same task, paid once." placeholder:"ID"`
	SceneID         string            `name:"scene-id" help:"Your own group of the task." placeholder:"ID"`
	After           []string          `help:"Task of the project that must have ended before; may be repeated. An input may refer to what it has made: {\"$from\":\"ID\"}." placeholder:"ID"`
	OnDependency    string            `name:"on-dependency" help:"What to do when one of those fails: fail or ignore." enum:",fail,ignore" default:"" placeholder:"POLICY"`
	NotBefore       string            `name:"not-before" help:"Time before which nothing is sent (RFC 3339), or how long from now, such as 2h." placeholder:"TIME"`
	Priority        int               `help:"Order within the project, -100 to 100, higher first."`
	Timeout         time.Duration     `help:"Total time of the task, 1s to 48h." placeholder:"DURATION"`
	StartTimeout    time.Duration     `help:"Time until the provider begins to work." placeholder:"DURATION"`
	OnInDoubt       string            `help:"What to do when nobody can tell whether the provider took the paid request: hold, fail or resubmit." enum:",hold,fail,resubmit" default:"" placeholder:"POLICY"`
	MaxPaidAttempts int               `help:"Most paid requests for this task, 1 to 10 (default 1)." placeholder:"N"`
	Notify          string            `help:"Endpoint that is sent the events of the task; see: reelay help notify." placeholder:"NAME"`
	Keep            bool              `help:"Complete the task only when its outputs are in reelay's own store."`
	Batch           string            `help:"Batch that the task belongs to." placeholder:"ID"`
	BatchSize       int               `help:"How many tasks the batch will have; one of them that says it is enough." placeholder:"N"`
	EstimatedUSD    float64           `name:"estimated-usd" help:"What you expect it to cost, in US dollars; counts if it is more than the price table says." placeholder:"USD"`
	MaxUSD          float64           `name:"max-usd" help:"Most that its paid requests may cost together." placeholder:"USD"`
	Metadata        map[string]string `help:"Your own notes on the task; may be repeated." mapsep:"none" placeholder:"KEY=VALUE"`
}

// build returns the request, and the files of this machine that have to be handed in before it. A task without an id gets
// one here, so that asking twice is still one task. Its error is a usageError.
func (f requestFlags) build(stdin io.Reader) (events.Request, localFiles, error) {
	var files localFiles
	if err := files.flags(&f.wantFlags); err != nil {
		return events.Request{}, nil, err
	}
	input, want, err := f.inputOrWant(stdin)
	if err == nil {
		input, err = files.input(input)
	}
	if err != nil {
		return events.Request{}, nil, err
	}
	r, err := f.request(input, want)
	if err == nil {
		r.InputFiles, err = files.places(f.File)
	}
	if err != nil {
		return r, nil, err
	}
	if err := r.Validate(); err != nil {
		return r, nil, &usageError{err}
	}
	return r, files, nil
}

// request returns the request of an input or a want.
func (f requestFlags) request(input []byte, want *events.Want) (_ events.Request, err error) {
	r := events.Request{
		ID: f.ID, Provider: f.Provider, Model: f.Model, Input: input, Want: want, Lenient: f.Lenient, SceneID: f.SceneID, Priority: f.Priority,
		Timeout: events.Duration(f.Timeout), StartTimeout: events.Duration(f.StartTimeout),
		OnInDoubt: events.InDoubtPolicy(f.OnInDoubt), MaxPaidAttempts: f.MaxPaidAttempts, Metadata: f.Metadata,
		BatchID: f.Batch, BatchSize: f.BatchSize, EstimatedUSD: f.EstimatedUSD, MaxCostUSD: f.MaxUSD,
		Notify: f.Notify, After: f.After, OnDependency: events.DependencyPolicy(f.OnDependency),
	}
	if f.Keep {
		r.Keep = events.KeepRequired
	}
	if r.NotBefore, err = parseNotBefore(f.NotBefore, time.Now()); err != nil {
		return r, err
	}
	if r.ID == "" {
		r.ID = newID()
	}
	if !events.ValidToken(f.Project) {
		return r, usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	return r, nil
}

// newID makes an id for a task that was given none.
func newID() string { return strings.ToLower(rand.Text()[:13]) } // 65 random bits

// inputOrWant returns the provider's own input or what is wanted. A prompt alone for a model of a provider makes an
// input, so that it works for models that no want is known for.
func (f requestFlags) inputOrWant(stdin io.Reader) ([]byte, *events.Want, error) {
	want, err := f.want(f.Prompt)
	switch {
	case err != nil:
		return nil, nil, err
	case f.Input != "" && f.given() != "":
		return nil, nil, usagef("%s: is not for --input, which is the provider's own input as a whole", f.given())
	case f.Input == "" && f.Prompt == "" && f.given() == "" && len(f.File) == 0:
		return nil, nil, usagef("--prompt or --input is needed")
	case f.Input == "" && (f.given() != "" || f.Provider == "" || f.Model == ""):
		return nil, want, nil
	case f.Input == "" && f.Prompt == "":
		return []byte("{}"), nil, nil
	}
	input, err := f.input(stdin)
	return input, nil, err
}

// parseNotBefore reads a time or how long it is to it; nil of none. Its error is a usageError.
func parseNotBefore(s string, now time.Time) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return &at, nil
	}
	wait, err := time.ParseDuration(s)
	if err != nil || wait < 0 {
		return nil, usagef("--not-before: %q is neither a time such as 2026-01-31T15:04:05Z nor a duration such as 2h", s)
	}
	return new(now.Add(wait).UTC().Truncate(time.Second)), nil
}

// input returns what --input and --prompt make together.
func (f requestFlags) input(stdin io.Reader) ([]byte, error) {
	if f.Input == "" {
		return promptInput(f.Model, f.Prompt)
	}
	raw, err := readInput(f.Input, stdin)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--input: %w", err)}
	}
	if f.Prompt == "" {
		return raw, nil
	}
	return addPrompt(f.Model, raw, f.Prompt)
}

// readInput reads one JSON object of at most MaxRequestBytes.
func readInput(name string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	raw, err := io.ReadAll(io.LimitReader(from, events.MaxRequestBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > events.MaxRequestBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", name, events.MaxRequestBytes)
	}
	if _, err := members(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}
