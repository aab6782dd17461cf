package catalog

import (
	"context"

	"reelay/events"
)

// A Form shows what a question and its answer look like, for `nats micro info`.
type Form struct {
	Question, Answer string
}

const typicalForm = `"typical":{"samples":12,"whole_s":95,"late_s":140}`

// ModelsForm is that of AnswerModels.
func ModelsForm() Form {
	return Form{
		Question: `empty or {"provider":"","model":"id or alias","task_type":"video"}`,
		Answer: `{"models":[{"provider":"...","model":"...","aliases":["..."],"task_types":["video"],` +
			`"supported_durations":["5","10"],"prices":[{"unit":"second","usd":0.168}],` + typicalForm + `,` +
			`"forms":[{"model":"...","wants":{"duration":["5","10"]}}],"source":"...","as_of":"2026-01-31"}]}`,
	}
}

// QuoteForm is that of AnswerQuote.
func QuoteForm() Form {
	return Form{
		Question: `{"task_type":"video","want":{...}}, or any request beside task_type`,
		Answer: `{"provider":"...","model":"...","input":{...},"cost":{"estimated_usd":0.84,"basis":"..."},` +
			typicalForm + `}`,
	}
}

// AnswerModels answers an events.ModelsRequest as JSON. Its error is an events.FieldError or an *events.Error.
func (c Catalog) AnswerModels(ctx context.Context, question []byte) (any, error) {
	r, err := events.DecodeModelsRequest(question)
	if err != nil {
		return nil, err
	}
	return c.Models(ctx, r)
}

// AnswerQuote answers an events.QuoteRequest as JSON. Its error is an events.FieldError or an *events.Error.
func (c Catalog) AnswerQuote(ctx context.Context, question []byte) (any, error) {
	q, err := events.DecodeQuoteRequest(question)
	if err != nil {
		return nil, err
	}
	return c.Quote(ctx, q)
}
