package main

import (
	"fmt"
	"io"
	"time"

	"reelay/events"
)

// blockedBy returns what keeps a waiting task from being sent, a limit at work not counted; nil if that is all or
// nothing does.
func blockedBy(t events.Task) *events.Blocked {
	if t.Phase != events.PhaseWaiting || t.Blocked == nil || t.Blocked.Reason.Normal() {
		return nil
	}
	return t.Blocked
}

// describeBlocked says what keeps tasks and until when.
func describeBlocked(b events.Blocked, zone *time.Location) string {
	end := "no end known"
	if b.Until != nil {
		end = "until " + b.Until.In(zone).Format(time.DateTime)
	}
	return clean(b.Message) + ", " + end
}

// describeLaneBlocked says what keeps tasks of a lane: all of them, or those of a limit group or of a project.
func describeLaneBlocked(b events.Blocked, zone *time.Location) string {
	of := ""
	if b.Model != "" {
		of += "models " + clean(b.Model) + " "
	}
	if b.Project != "" {
		of += "project " + clean(b.Project) + " "
	}
	return fmt.Sprintf("%sblocked (%s): %s", of, clean(string(b.Reason)), describeBlocked(b, zone))
}

// printBlocked writes what keeps a lane, one line each.
func printBlocked(w io.Writer, lane string, all []events.Blocked, zone *time.Location) {
	for _, b := range all {
		fmt.Fprintf(w, "%s %s\n", lane, describeLaneBlocked(b, zone))
	}
}

// wayOut says how a person has a blocked lane send again; empty if it ends by itself or its message alone says how.
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
