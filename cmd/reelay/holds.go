package main

import (
	"fmt"
	"io"
	"time"

	"reelay/events"
)

// holdOf returns what keeps a waiting task from being sent, a limit at work not counted; nil if that is all or nothing does.
func holdOf(t events.Task) *events.Blocked {
	if t.Phase != events.PhaseWaiting || t.Blocked == nil || t.Blocked.Reason.Normal() {
		return nil
	}
	return t.Blocked
}

// describeHold says what keeps tasks and until when.
func describeHold(h events.Blocked, zone *time.Location) string {
	end := "no end known"
	if h.Until != nil {
		end = "until " + h.Until.In(zone).Format(time.DateTime)
	}
	return clean(h.Message) + ", " + end
}

// describeLaneHold says what keeps tasks of a lane: all of them, or those of a family of models or of a project.
func describeLaneHold(h events.Blocked, zone *time.Location) string {
	of := ""
	if h.Model != "" {
		of += "models " + clean(h.Model) + " "
	}
	if h.Project != "" {
		of += "project " + clean(h.Project) + " "
	}
	return fmt.Sprintf("%sheld (%s): %s", of, clean(string(h.Reason)), describeHold(h, zone))
}

// printHolds writes what keeps a lane, one line each.
func printHolds(w io.Writer, l events.LaneQueue, zone *time.Location) {
	for _, h := range l.Blocked {
		fmt.Fprintf(w, "%s %s\n", l.Lane, describeLaneHold(h, zone))
	}
}

// wayOut says how a person ends a hold of a lane; empty if it ends by itself or its message alone says how.
func wayOut(lane string, r events.BlockedReason) string {
	switch r {
	case events.BlockedNoDispatcher:
		return "start a submitter, or `reelay up`"
	case events.BlockedPaused, events.BlockedBreaker:
		return "reelay lanes resume " + lane
	case events.BlockedAccount:
		return "see to the key or the balance, then: reelay lanes resume " + lane
	case events.BlockedCap:
		return "see the caps: reelay spend; raise one: reelay spend cap"
	}
	return ""
}
