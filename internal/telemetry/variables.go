package telemetry

// A Variable is one of the environment.
type Variable struct{ Env, Placeholder, Default, Help string }

// Variables lists the standard variables that are honoured, for `reelay help config`. Those of which this package reads
// none itself are read by OpenTelemetry's SDK and exporters.
func Variables() []Variable {
	return []Variable{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "URL", "", "Collector to which spans and metrics are sent, by OTLP over HTTP; this turns both on."},
		{"OTEL_EXPORTER_OTLP_<SIGNAL>_ENDPOINT", "URL", "", "The same for TRACES or METRICS alone, with its path."},
		{"OTEL_TRACES_EXPORTER", "otlp|none", "", "otlp turns spans on, to http://localhost:4318 without an endpoint; none turns them off."},
		{"OTEL_METRICS_EXPORTER", "otlp|none", "", "The same for metrics, which have the names of /metrics."},
		{"OTEL_SDK_DISABLED", "true", "", "Export nothing, whatever else is set."},
		{"OTEL_SERVICE_NAME", "NAME", "", "Name of the process to the collector; else that of its program."},
		{"OTEL_RESOURCE_ATTRIBUTES", "K=V,...", "", "What else is said of the process."},
		{"OTEL_TRACES_SAMPLER", "SAMPLER", "parentbased_always_on", "Which traces are exported; its argument is OTEL_TRACES_SAMPLER_ARG."},
		{"OTEL_EXPORTER_OTLP_HEADERS", "K=V,...", "", "Headers of the exports, such as a key of the collector's; a secret."},
		{
			"OTEL_EXPORTER_OTLP_*", "", "", "TIMEOUT, COMPRESSION, CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY; " +
				"PROTOCOL may only be http/protobuf.",
		},
		{"OTEL_BSP_*", "", "", "SCHEDULE_DELAY, EXPORT_TIMEOUT, MAX_QUEUE_SIZE and MAX_EXPORT_BATCH_SIZE of spans."},
		{"OTEL_METRIC_EXPORT_INTERVAL", "MS", "60000", "Time between two exports of metrics; OTEL_METRIC_EXPORT_TIMEOUT bounds one."},
	}
}
