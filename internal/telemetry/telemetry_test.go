package telemetry_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/internal/telemetry"
)

// TestVariables: nothing is exported unless a variable asks for it, and what this build cannot do stops the start and
// names the variable.
func TestVariables(t *testing.T) {
	const endpoint, tracesTo = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	const traces, metrics, protocol = "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL"
	const collector = "http://127.0.0.1:1"
	for name, row := range map[string]struct {
		env  map[string]string
		on   bool
		fail string
	}{
		"nothing":           {},
		"an endpoint":       {env: map[string]string{endpoint: collector, metrics: "none"}, on: true},
		"of traces":         {env: map[string]string{tracesTo: collector + "/v1/traces"}, on: true},
		"asked for":         {env: map[string]string{traces: "otlp"}, on: true},
		"not asked for":     {env: map[string]string{endpoint: collector, traces: "none", metrics: "none"}},
		"disabled":          {env: map[string]string{endpoint: collector, "OTEL_SDK_DISABLED": "true"}},
		"another exporter":  {env: map[string]string{traces: "zipkin"}, fail: traces},
		"another protocol":  {env: map[string]string{endpoint: collector, protocol: "grpc"}, fail: protocol},
		"no URL":            {env: map[string]string{endpoint: "127.0.0.1:4318"}, fail: endpoint},
		"bad resource":      {env: map[string]string{traces: "otlp", "OTEL_RESOURCE_ATTRIBUTES": "x"}, fail: "OTEL_RESOURCE_ATTRIBUTES"},
		"protocol, and off": {env: map[string]string{protocol: "grpc"}},
	} {
		t.Run(name, func(t *testing.T) {
			for variable, value := range row.env {
				t.Setenv(variable, value)
			}
			p, stop, err := telemetry.Start(t.Context(), telemetry.Options{
				Program: "test", Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
			})
			if row.fail == "" && err != nil || row.fail != "" && (err == nil || !strings.Contains(err.Error(), row.fail)) {
				t.Errorf("%v, want an error of %q", err, row.fail)
			}
			if (p != nil) != row.on {
				t.Errorf("spans are made: %v, want %v", p != nil, row.on)
			}
			if (stop != nil) != row.on {
				t.Errorf("there is something to stop: %v, want %v", stop != nil, row.on)
			}
			if stop != nil {
				stop()
			}
		})
	}
}
