package fal

import (
	_ "embed" // the schemas
	"encoding/json"
	"net/http"
)

// schemaPath is where fal serves the schema of a model, without a key, on a host of its own
// (GET https://fal.ai/api/openapi/queue/openapi.json?endpoint_id=<id>).
const schemaPath = "/api/openapi/queue/openapi.json"

// inputSchemas are those of a few models, after the types of fal's client for JavaScript as of 2026-08-02.
//
//go:embed schemas.json
var inputSchemas []byte

// serveSchema answers with the OpenAPI document of a model, as far as it tells of the input, and 404 for others.
func serveSchema(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("endpoint_id")
	var known map[string]json.RawMessage
	if err := json.Unmarshal(inputSchemas, &known); err != nil || known[id] == nil || r.Method != http.MethodGet {
		detail(w, http.StatusNotFound, "Not Found")
		return
	}
	type object = map[string]any
	ref := object{"$ref": "#/components/schemas/Input"}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{ // the client may have gone
		"openapi":    "3.0.4",
		"components": object{"schemas": object{"Input": known[id]}},
		"paths": object{"/" + id: object{"post": object{
			"requestBody": object{"content": object{"application/json": object{"schema": ref}}},
		}}},
	})
}
