package mcp

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/internal/describe"
)

// addModels adds the tools that tell of models before anything is made.
func (b *bridge) addModels() {
	kinds := func(in map[string]*jsonschema.Schema) { oneOf(in["task_type"], events.TaskTypes()) }
	add(b, &sdk.Tool{
		Name: "list_models", Annotations: readOnly("List models"),
		Description: "Lists the models that the generate tools know, with what they can do and cost. With model it tells all " +
			"of one.",
	}, kinds, b.listModels)
	add(b, &sdk.Tool{
		Name: "quote", Annotations: readOnly("Quote"),
		Description: "Returns what a wish would cost and how long it would take. Makes nothing and costs nothing.",
	}, func(in map[string]*jsonschema.Schema) {
		kinds(in)
		in["task_type"].Default = []byte(`"` + events.Video + `"`)
	}, b.quote)
}

type listModelsIn struct {
	TaskType string `json:"task_type,omitempty" jsonschema:"only models that make this"`
	Model    string `json:"model,omitempty" jsonschema:"id or alias of one model"`
	Provider string `json:"provider,omitempty" jsonschema:"only models of this provider"`
}

// A modelRow is what a model can be told, and what it costs.
type modelRow struct {
	Model     string   `json:"model" jsonschema:"names it in the generate tools"`
	Aliases   []string `json:"aliases,omitempty"`
	Provider  string   `json:"provider"`
	TaskTypes []string `json:"task_types"`
	Default   bool     `json:"default,omitempty" jsonschema:"it is taken where no model is named"`
	// The values are those of any of its forms.
	Durations    []string `json:"durations,omitempty" jsonschema:"seconds"`
	Resolutions  []string `json:"resolutions,omitempty"`
	AspectRatios []string `json:"aspect_ratios,omitempty"`
	Frames       []string `json:"frames,omitempty" jsonschema:"which frames of a video can be given"`
	References   bool     `json:"references,omitempty" jsonschema:"takes images of what appears"`
	Price        string   `json:"price,omitempty" jsonschema:"US dollars for a unit, the quote tool tells exactly"`
	TypicalS     float64  `json:"typical_s,omitempty" jsonschema:"seconds that it took of late"`
	Options      []string `json:"options,omitempty" jsonschema:"further fields of the provider's own input"`
}

type modelsAnswer struct {
	Success bool       `json:"success"`
	Models  []modelRow `json:"models"`
	Error   *failure   `json:"error,omitempty"`
}

func (a *modelsAnswer) fail(f *failure) { *a = modelsAnswer{Models: []modelRow{}, Error: f} }

func (a *modelsAnswer) content() []sdk.Content {
	if a.Error != nil {
		return []sdk.Content{text(a.Error.Message)}
	}
	var s strings.Builder
	for _, m := range a.Models {
		fmt.Fprintf(&s, "%s by %s makes %s", m.Model, m.Provider, strings.Join(m.TaskTypes, ", "))
		if m.Price != "" {
			s.WriteString(" for " + m.Price)
		}
		s.WriteString("\n")
	}
	return []sdk.Content{text(strings.TrimSuffix(s.String(), "\n"))}
}

func (b *bridge) listModels(ctx context.Context, _ *sdk.CallToolRequest, in listModelsIn) (modelsAnswer, error) {
	reply, err := b.client.Models(ctx, b.who.Projects[0], events.ModelsRequest{
		Provider: in.Provider, Model: in.Model, TaskType: events.TaskType(in.TaskType),
	})
	if err != nil {
		return modelsAnswer{}, err
	}
	a := modelsAnswer{Success: true, Models: []modelRow{}}
	for _, m := range reply.Models {
		row := modelRow{
			Model: m.Model, Aliases: m.Aliases, Provider: m.Provider, Default: len(m.DefaultFor) > 0,
			Durations: m.SupportedDurations, Resolutions: m.SupportedResolutions, AspectRatios: m.SupportedAspectRatios,
			Frames: m.SupportedFrameImages, References: m.References, Price: priceOf(m.Prices),
		}
		for _, t := range m.TaskTypes {
			row.TaskTypes = append(row.TaskTypes, string(t))
		}
		if m.Typical != nil {
			row.TypicalS = m.Typical.WholeS
		}
		for _, f := range m.Forms {
			row.Options = append(row.Options, f.Options...)
		}
		row.Options = unique(row.Options)
		a.Models = append(a.Models, row)
	}
	return a, nil
}

// priceOf tells the prices of a model as a span, such as "0.05 to 0.28 US dollars a second".
func priceOf(all []events.ModelPrice) string {
	if len(all) == 0 {
		return ""
	}
	low, high := math.Inf(1), 0.0
	for _, p := range all {
		if p.Unit == all[0].Unit {
			low, high = min(low, p.USD), max(high, p.USD)
		}
	}
	if low == high {
		return fmt.Sprintf("%g US dollars a %s", low, all[0].Unit)
	}
	return fmt.Sprintf("%g to %g US dollars a %s", low, high, all[0].Unit)
}

// unique leaves the first of each text.
func unique(all []string) (left []string) {
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			left = append(left, s)
		}
	}
	return left
}

type quoteIn struct {
	TaskType      string  `json:"task_type,omitempty" jsonschema:"what is wanted"`
	Prompt        string  `json:"prompt,omitempty"`
	Text          string  `json:"text,omitempty" jsonschema:"what is spoken"`
	FirstFrameURL string  `json:"first_frame_url,omitempty" jsonschema:"https URL of the image that it begins with"`
	LastFrameURL  string  `json:"last_frame_url,omitempty" jsonschema:"https URL of the image that it ends with"`
	Duration      float64 `json:"duration,omitempty" jsonschema:"seconds"`
	AspectRatio   string  `json:"aspect_ratio,omitempty" jsonschema:"such as 16:9"`
	Resolution    string  `json:"resolution,omitempty" jsonschema:"such as 720p"`
	Model         string  `json:"model,omitempty" jsonschema:"id or alias of a model, the default one if it is left out"`
	Provider      string  `json:"provider,omitempty" jsonschema:"the model says it where it is left out"`
	ProjectID     string  `json:"project_id,omitempty" jsonschema:"the default project if it is left out"`
}

type quoteAnswer struct {
	Success   bool    `json:"success"`
	Model     string  `json:"model,omitempty"`
	Provider  string  `json:"provider,omitempty"`
	Estimated float64 `json:"estimated_cost_usd,omitempty" jsonschema:"left out where nobody knows it"`
	Basis     string  `json:"basis,omitempty" jsonschema:"how the cost comes about"`
	Confirm   bool    `json:"needs_confirmation" jsonschema:"whether the user has to approve the cost first"`
	TypicalS  float64 `json:"typical_s,omitempty" jsonschema:"seconds that such a task took of late"`
	LateS     float64 `json:"late_s,omitempty" jsonschema:"seconds that nine of ten did not exceed"`

	Warnings []string `json:"warnings,omitempty" jsonschema:"what was left out of the wish"`
	Message  string   `json:"message"`
	Error    *failure `json:"error,omitempty"`
}

func (a *quoteAnswer) fail(f *failure) { *a = quoteAnswer{Error: f, Message: f.Message} }

func (a *quoteAnswer) content() []sdk.Content { return []sdk.Content{text(a.Message)} }

func (b *bridge) quote(ctx context.Context, _ *sdk.CallToolRequest, in quoteIn) (quoteAnswer, error) {
	project, err := b.project(in.ProjectID)
	if err != nil {
		return quoteAnswer{}, err
	}
	q, err := b.client.Quote(ctx, project, events.QuoteRequest{TaskType: events.TaskType(in.TaskType), Request: events.Request{
		Model: in.Model, Provider: in.Provider, Want: &events.Want{
			Prompt: in.Prompt, Text: in.Text, Image: events.WantValue(in.FirstFrameURL), LastFrame: events.WantValue(in.LastFrameURL),
			Duration: in.Duration, AspectRatio: in.AspectRatio, Resolution: in.Resolution,
		},
	}})
	if err != nil {
		return quoteAnswer{}, err
	}
	usd, known := cost(q)
	a := quoteAnswer{
		Success: true, Model: q.Model, Provider: q.Provider, Estimated: usd, Warnings: q.Warnings,
		Confirm: b.confirmOver > 0 && (!known || usd > b.confirmOver),
		Message: fmt.Sprintf("Nobody knows what %s by %s costs.", q.Model, q.Provider),
	}
	if known {
		a.Basis = describe.Clean(q.Cost.Basis)
		a.Message = fmt.Sprintf("%s by %s costs about %s US dollars.", q.Model, q.Provider, dollars(usd))
	}
	if q.Typical != nil {
		a.TypicalS, a.LateS = q.Typical.WholeS, q.Typical.LateS
		a.Message += fmt.Sprintf(" It takes about %.0f s.", a.TypicalS)
	}
	if a.Confirm {
		a.Message += " The user has to approve that first."
	}
	return a, nil
}
