package status

import (
	"context"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/catalog"
)

// modelEndpoints are the verbs that tell of models before anything is submitted.
func (s *Service) modelEndpoints() []api.Endpoint {
	answering := func(v events.Verb, about string, form catalog.Form,
		answer func(context.Context, []byte) (any, error),
	) api.Endpoint {
		handle := func(ctx context.Context, c api.Call) (any, error) { return answer(ctx, c.Data) }
		return api.Endpoint{Verb: v, Tokens: []string{api.Project}, About: about, Request: form.Question, Answer: form.Answer, Handle: handle}
	}
	return []api.Endpoint{
		answering(events.VerbModels, "what models can be told by a want", catalog.ModelsForm(), s.o.Catalog.AnswerModels),
		answering(events.VerbQuote, "what a request would cost; nothing is submitted", catalog.QuoteForm(), s.o.Catalog.AnswerQuote),
	}
}
