// Package mixin is what monitors reelay: alert rules for Prometheus and a dashboard for Grafana. A test keeps every metric
// and label that they name to what the services register, and .ci/run has promtool check and try the rules.
package mixin

import _ "embed"

//go:embed rules.yaml
var rules []byte

//go:embed dashboard.json
var dashboard []byte

// Rules returns a file of rules for Prometheus, in YAML: alerts where money or results are in danger, each with what to do.
func Rules() []byte { return rules }

// Dashboard returns a dashboard for Grafana, in JSON, which asks for its Prometheus when it is imported.
func Dashboard() []byte { return dashboard }
