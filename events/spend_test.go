package events_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"reelay/events"
)

func TestDecodeSpendRequest(t *testing.T) {
	today := time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", -3600)) // the second in UTC
	for _, row := range []struct{ in, since, until, field string }{
		{"", "2026-01-31", "2026-03-02", ""},
		{`{}`, "2026-01-31", "2026-03-02", ""},
		{`{"until":"2026-02-01"}`, "2026-01-02", "2026-02-01", ""},
		{`{"since":"2026-03-02"}`, "2026-03-02", "2026-03-02", ""},
		{`{"since":"2025-01-01","until":"2025-12-31","by":["day"]}`, "2025-01-01", "2025-12-31", ""},
		{`{"since":"2026-03-03"}`, "", "", "since"},
		{`{"since":"yesterday"}`, "", "", "since"},
		{`{"until":"2026-02-30"}`, "", "", "until"},
		{`{"by":["hour"]}`, "", "", "by"},
		{`{"from":"2026-01-01"}`, "", "", "from"},
		{`[]`, "", "", "payload"},
	} {
		r, err := events.DecodeSpendRequest([]byte(row.in), today)
		var fe *events.FieldError
		switch {
		case row.field != "":
			if !errors.As(err, &fe) || fe.Field != row.field {
				t.Errorf("%s: got %v, want a complaint about %s", row.in, err, row.field)
			}
		case err != nil || r.Since != row.since || r.Until != row.until:
			t.Errorf("%s: got %+v, %v, want %s to %s", row.in, r, err, row.since, row.until)
		case len(r.By) != 1 && !slices.Equal(r.By, events.SpendGroups()):
			t.Errorf("%s: grouped by %v", row.in, r.By)
		}
	}
}
