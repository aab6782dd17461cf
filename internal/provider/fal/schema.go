package fal

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"reelay/internal/provider"
)

const (
	// defaultSchemaURL is where fal serves the schemas of its models.
	defaultSchemaURL = "https://fal.ai"
	schemaPath       = "/api/openapi/queue/openapi.json"
)

// InputSchema returns the OpenAPI document of an endpoint, which fal serves without a key at
// GET /api/openapi/queue/openapi.json?endpoint_id=<id>. With a base URL of its own it is asked for there, so that a proxy
// or an emulator gets all calls. The call is free. Its errors are *provider.Error.
func (d *Driver) InputSchema(ctx context.Context, model string) ([]byte, error) {
	base := defaultSchemaURL
	if d.baseURL != DefaultBaseURL {
		base = d.baseURL
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		base+schemaPath+"?endpoint_id="+url.QueryEscape(model), nil)
	if err != nil {
		return nil, d.transport(err)
	}
	req.Header.Set("Accept", "application/json")
	r, err := provider.Exchange(d.client, req)
	if err != nil {
		return nil, d.transport(err)
	}
	if r.Status != http.StatusOK {
		return nil, d.transport(fmt.Errorf("the schema of %.200q was answered with HTTP status %d", model, r.Status))
	}
	return r.Body, nil
}
