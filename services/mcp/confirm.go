package mcp

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/segment"
)

const (
	// confirmKey is the name of a question about money, approveField the field of its answer.
	confirmKey   = "confirm_cost"
	approveField = "approve"
)

// A question is an error of a call that needs an answer from a person first.
type question struct {
	words, state string
}

func (q *question) Error() string { return q.words }

// result is the answer to the call: the client asks the person and calls again.
func (q *question) result() *sdk.CallToolResult {
	return &sdk.CallToolResult{RequestState: q.state, InputRequests: sdk.InputRequestMap{confirmKey: &sdk.ElicitParams{
		Mode: "form", Message: q.words, RequestedSchema: &jsonschema.Schema{
			Type: "object", Required: []string{approveField}, Properties: map[string]*jsonschema.Schema{
				approveField: {Type: "boolean", Title: "Approve", Description: "Have it made at this cost"},
			},
		},
	}}}
}

// A price is what tasks are expected to cost together.
type price struct {
	usd   float64
	known bool
	// what names their models.
	what string
}

// price asks what tasks would cost, which also says what is wrong with one.
func (b *bridge) price(ctx context.Context, project string, steps []segment.Task) (price, error) {
	total := price{known: true}
	var models []string
	for _, s := range steps {
		q, err := b.client.Quote(ctx, project, events.QuoteRequest{TaskType: s.Type, Request: s.Request})
		if err != nil {
			return total, err
		}
		usd, known := cost(q)
		total.usd, total.known = total.usd+usd, total.known && known
		models = append(models, q.Model+" by "+q.Provider)
	}
	total.usd, total.what = rounded(total.usd), strings.Join(models, ", ")
	return total, nil
}

// confirm returns the id under which a task may be handed in: it is cheap enough, or its cost was approved, or it is one
// already. Else its error is a question for clients that can ask a person, and a failure for others.
func (b *bridge) confirm(ctx context.Context, r *sdk.CallToolRequest, k events.Key, c common, p price) (string, error) {
	limit := b.confirmOver
	if c.MaxCostUSD > 0 && (limit <= 0 || c.MaxCostUSD < limit) {
		limit = c.MaxCostUSD
	}
	if p.known && p.usd <= limit || limit <= 0 || c.ConfirmCostUSD > 0 && (!p.known || cents(c.ConfirmCostUSD) == cents(p.usd)) {
		return k.ID, nil
	}
	if _, err := b.client.Get(ctx, k); !client.HasCode(err, events.CodeNotFound) {
		return k.ID, err
	}
	return b.askAbout(r, k.ID, p, limit)
}

// askAbout reads the answer to a question about a cost, or asks it.
func (b *bridge) askAbout(r *sdk.CallToolRequest, id string, p price, limit float64) (string, error) {
	answer, answered := r.Params.InputResponses[confirmKey].(*sdk.ElicitResult)
	bound := []string{b.who.Name, r.Params.Name, canonical(r.Params.Arguments)}
	if asked, ok := b.signer.Open(r.Params.RequestState, bound...); ok && answered && asked.USD == p.usd {
		if yes, _ := answer.Content[approveField].(bool); answer.Action != "accept" || !yes {
			return "", &failure{Code: codeDeclined, Message: "the cost was not approved; nothing was made and nothing paid"}
		}
		return asked.ID, nil
	}
	words := fmt.Sprintf("This (%s) costs about %s US dollars, more than the %s that need no approval.", p.what,
		dollars(p.usd), dollars(limit))
	confirm := dollars(p.usd)
	if !p.known {
		words = fmt.Sprintf("Nobody knows all that this (%s) costs; what is known of it is %s US dollars.", p.what, dollars(p.usd))
		confirm = "as high as it is expected to be"
	}
	if elicits(r.ClientCapabilities()) {
		return "", &question{words + " Have it made?", b.signer.Seal(id, p.usd, bound...)}
	}
	return "", &failure{
		Code: codeConfirm, Field: "confirm_cost_usd", Estimated: p.usd, Message: words + " Nothing was made. If the user agrees, " +
			"call again with the same arguments and confirm_cost_usd " + confirm,
	}
}

// elicits reports whether a client can ask a person; one that declares no mode of it knows forms.
func elicits(c *sdk.ClientCapabilities) bool {
	return c != nil && c.Elicitation != nil && (c.Elicitation.Form != nil || c.Elicitation.URL == nil)
}

// cost is what a request is expected to cost, to a hundredth of a cent.
func cost(q events.QuoteReply) (usd float64, known bool) {
	if q.Cost == nil || q.Cost.EstimatedUSD == nil {
		return 0, false
	}
	return rounded(*q.Cost.EstimatedUSD), true
}

func rounded(usd float64) float64 { return math.Round(usd*1e4) / 1e4 }

func cents(usd float64) float64 { return math.Round(usd * 100) }

// dollars writes an amount with two decimals, or four where it has them.
func dollars(usd float64) string {
	if s := fmt.Sprintf("%.4f", usd); !strings.HasSuffix(s, "00") {
		return s
	}
	return fmt.Sprintf("%.2f", usd)
}
