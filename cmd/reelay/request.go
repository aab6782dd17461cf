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
	TaskType        string            `arg:"" help:"What to make: video, image, audio or speech." enum:"video,image,audio,speech"`
	Provider        string            `required:"" help:"Provider, or the lane of one of its accounts: ${providers}, ..."`
	Model           string            `required:"" help:"The provider's own model or endpoint id."`
	Prompt          string            `help:"What to make, in words. Put into the input where the provider expects it."`
	Input           string            `help:"File with the input as a JSON object, sent as it is; - for standard input." placeholder:"FILE"`
	Project         string            `help:"Project of the task." env:"REELAY_PROJECT" default:"default"`
	ID              string            `name:"id" help:"Task id. The same id twice is the same task, paid once." placeholder:"ID"`
	SceneID         string            `name:"scene-id" help:"Your own group of the task." placeholder:"ID"`
	Priority        int               `help:"Order within the project, -100 to 100, higher first."`
	Timeout         time.Duration     `help:"Total time of the task, 1s to 48h." placeholder:"DURATION"`
	StartTimeout    time.Duration     `help:"Time until the provider begins to work." placeholder:"DURATION"`
	OnInDoubt       string            `help:"What to do when nobody can tell whether the provider took the paid request: hold, fail or resubmit." enum:",hold,fail,resubmit" default:"" placeholder:"POLICY"`
	MaxPaidAttempts int               `help:"Most paid requests for this task, 1 to 10 (default 1)." placeholder:"N"`
	Batch           string            `help:"Batch that the task belongs to." placeholder:"ID"`
	BatchSize       int               `help:"How many tasks the batch will have; one of them that says it is enough." placeholder:"N"`
	EstimatedUSD    float64           `name:"estimated-usd" help:"What you expect it to cost, in US dollars; counts if it is more than the price table says." placeholder:"USD"`
	MaxUSD          float64           `name:"max-usd" help:"Most that its paid requests may cost together." placeholder:"USD"`
	Metadata        map[string]string `help:"Your own notes on the task; may be repeated." mapsep:"none" placeholder:"KEY=VALUE"`
}

// build returns the request. A task without an id gets one here, so that asking twice is still one
// task. Its error is a usageError.
func (f requestFlags) build(stdin io.Reader) (events.Request, error) {
	input, err := f.input(stdin)
	if err != nil {
		return events.Request{}, err
	}
	r := events.Request{
		ID: f.ID, Provider: f.Provider, Model: f.Model, Input: input, SceneID: f.SceneID, Priority: f.Priority,
		Timeout: events.Duration(f.Timeout), StartTimeout: events.Duration(f.StartTimeout),
		OnInDoubt: events.InDoubtPolicy(f.OnInDoubt), MaxPaidAttempts: f.MaxPaidAttempts, Metadata: f.Metadata,
		BatchID: f.Batch, BatchSize: f.BatchSize, EstimatedUSD: f.EstimatedUSD, MaxCostUSD: f.MaxUSD,
	}
	if r.ID == "" {
		r.ID = strings.ToLower(rand.Text()[:13]) // 65 random bits
	}
	if !events.ValidToken(f.Project) {
		return r, usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	if err := r.Validate(); err != nil {
		return r, &usageError{err}
	}
	return r, nil
}

// input returns what --input and --prompt make together.
func (f requestFlags) input(stdin io.Reader) ([]byte, error) {
	if f.Input == "" {
		if f.Prompt == "" {
			return nil, usagef("--prompt or --input is needed")
		}
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
