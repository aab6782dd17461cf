// Package telemetry sends the spans and the metrics of a process to a collector, by OTLP over HTTP, as the standard
// variables of OpenTelemetry say (Variables). Without one of them that names a collector or asks for an export, it
// starts nothing.
//
// A collector that is slow or away delays nobody: spans wait in a queue of bounded length, 2,048 unless OTEL_BSP_* says
// otherwise, and what finds no room is dropped.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// stopWait bounds the export of what is left when the process stops.
const stopWait = 5 * time.Second

// Options say of which process spans and metrics are.
type Options struct {
	// Program is the service's name, unless OTEL_SERVICE_NAME has one. Version is that of the build.
	Program, Version string
	// Metrics are those of the process.
	Metrics prometheus.Gatherer
	Log     *slog.Logger
	// Client carries the exports; nil for one over TCP, which heeds OTEL_EXPORTER_OTLP_TIMEOUT and its like.
	Client *http.Client
}

// Start starts what the variables ask for. The provider is nil unless they ask for spans, and stop unless they ask for
// anything; it exports what is left, for five seconds at most. The error names a variable.
func Start(ctx context.Context, o Options) (p trace.TracerProvider, stop func(), err error) {
	spans, err := wanted("TRACES")
	if err != nil {
		return nil, nil, err
	}
	metrics, err := wanted("METRICS")
	if err != nil || !spans && !metrics {
		return nil, nil, err
	}
	of, err := process(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		o.Log.Warn("telemetry could not be exported; what does not fit its queue is dropped", "error", err)
	}))
	var stops []func(context.Context) error
	stop = func() { shutdown(o.Log, stops) }
	if metrics {
		meters, err := startMetrics(ctx, o, of)
		if err != nil {
			return nil, nil, err
		}
		stops = append(stops, meters.Shutdown)
	}
	if spans {
		tracers, err := startSpans(ctx, o, of)
		if err != nil {
			stop()
			return nil, nil, err
		}
		p, stops = tracers, append(stops, tracers.Shutdown)
	}
	o.Log.Info("telemetry is exported by OTLP", "spans", spans, "metrics", metrics)
	return p, stop, nil
}

// shutdown exports what is left. That a collector is away is no failure of the process.
func shutdown(log *slog.Logger, stops []func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	for _, stop := range stops {
		if err := stop(ctx); err != nil {
			log.Warn("the last telemetry could not be exported", "error", err)
		}
	}
}

// wanted reports whether the variables ask for the export of a signal. Its error names what this build cannot do.
func wanted(signal string) (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	name := "OTEL_" + signal + "_EXPORTER"
	on := false
	for _, endpoint := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"} {
		text := os.Getenv(endpoint)
		if text == "" {
			continue
		}
		on = true
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return false, fmt.Errorf("%s must be a URL that begins with http:// or https://", endpoint)
		}
	}
	switch exporter := os.Getenv(name); exporter {
	case "":
	case "none":
		return false, nil
	case "otlp":
		on = true
	default:
		return false, fmt.Errorf("%s is %q, and must be otlp or none", name, exporter)
	}
	for _, protocol := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL"} {
		if text := os.Getenv(protocol); on && text != "" && text != "http/protobuf" {
			return false, fmt.Errorf("%s is %q, and must be http/protobuf", protocol, text)
		}
	}
	return on, nil
}

// process describes this process: what the variables say of it, and its program, its build and an id of its own.
func process(ctx context.Context, o Options) (*resource.Resource, error) {
	r, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.namespace", "reelay"), attribute.String("service.name", o.Program),
		attribute.String("service.version", o.Version), attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return r, nil
}

func startSpans(ctx context.Context, o Options, of *resource.Resource) (*sdk.TracerProvider, error) {
	var client []otlptracehttp.Option
	if o.Client != nil {
		client = append(client, otlptracehttp.WithHTTPClient(o.Client))
	}
	exporter, err := otlptracehttp.New(ctx, client...)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TRACES_*: %w", err)
	}
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(of)), nil
}

// startMetrics has the metrics that are served at /metrics exported too, under the same names.
func startMetrics(ctx context.Context, o Options, of *resource.Resource) (*metric.MeterProvider, error) {
	var client []otlpmetrichttp.Option
	if o.Client != nil {
		client = append(client, otlpmetrichttp.WithHTTPClient(o.Client))
	}
	exporter, err := otlpmetrichttp.New(ctx, client...)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_METRICS_*: %w", err)
	}
	reader := metric.NewPeriodicReader(exporter, metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(o.Metrics))))
	return metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(of)), nil
}
