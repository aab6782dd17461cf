package allinone

import (
	"reelay/internal/account"
	"reelay/services/poller"
	"reelay/services/status"
	"reelay/services/submitter"
	"reelay/services/webhook"
)

// SubmitterLanes returns the accounts as the submitter takes them.
func SubmitterLanes(all []account.Lane) []submitter.Lane {
	lanes := make([]submitter.Lane, len(all))
	for i, a := range all {
		lanes[i] = submitter.Lane{
			Name: a.Lane, Provider: a.Provider, Driver: a.Driver, Defaults: a.Limits, CrowdedCodes: a.CrowdedCodes, Handshake: a.Handshake, NoCallback: a.NoCallback,
		}
	}
	return lanes
}

// PollerLanes returns the accounts as the poller takes them.
func PollerLanes(all []account.Lane) []poller.Lane {
	lanes := make([]poller.Lane, len(all))
	for i, a := range all {
		lanes[i] = poller.Lane{Name: a.Lane, Driver: a.Driver, Interval: a.Interval, Horizon: a.Horizon}
	}
	return lanes
}

// StatusLanes returns the accounts as the status service takes them.
func StatusLanes(all []account.Lane) []status.LaneInfo {
	lanes := make([]status.LaneInfo, len(all))
	for i, a := range all {
		lanes[i] = status.LaneInfo{Name: a.Lane, Provider: a.Provider}
	}
	return lanes
}

// WebhookLanes returns the lanes as the webhook edge takes them.
func WebhookLanes(all []account.EdgeLane) []webhook.Lane {
	lanes := make([]webhook.Lane, len(all))
	for i, a := range all {
		lanes[i] = webhook.Lane{Name: a.Lane, Provider: a.Provider, Verifier: a.Verifier, Handshake: a.Handshake}
	}
	return lanes
}
