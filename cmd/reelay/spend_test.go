package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
)

func TestSpend(t *testing.T) {
	b := newBench(t)
	b.answer(events.VerbSpend, func(subject string, _ []byte) any {
		sum := events.Spend{Tasks: 3, Attempts: 4, Unpriced: 1, SpentUSD: 3.5, ReservedUSD: 0.0035}
		return events.SpendReply{
			Since: "2026-01-01", Until: "2026-01-31", RowsLeftOut: 2, Total: sum,
			Rows: []events.SpendRow{{Project: "film", Model: "a-model", Spend: sum}},
			Caps: []events.SpendCap{{Scope: "project.film", DailyUSD: 20, ReservedUSD: 4.2, By: "anna"}},
		}
	})
	r := b.reelay("spend", "--project", "film", "--since", "2026-01-01")
	for _, want := range [][]string{
		{"PROJECT  MODEL", "TASKS", "SPENT USD", "RESERVED USD"},
		{"film", "a-model", "3", "4", "3.50", "0.0035"},
		{"total", "3.50", "0.0035"},
		{"2026-01-01 to 2026-01-31", "2 rows are left out", "of 1 attempts nobody knows the price"},
		{"project film", "20.00", "4.20", "anna"},
	} {
		if lines(r.stdout, want...) != 1 {
			t.Errorf("not one line with %q:\n%s%s", want, r.stdout, r.stderr)
		}
	}
	b.reelay("spend", "show", "--by", "day,lane", "--json").check(t, 0, `"rows_left_out": 2`, "")
	want := []string{
		`reelay.api.spend.film {"since":"2026-01-01","by":["project","model"]}`, `reelay.api.spend {"by":["day","lane"]}`,
	}
	if got := b.heard(); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	b.reelay("spend", "--by", "hour").check(t, 2, "", "--by")
	b.reelay("spend", "--project", "a.b").check(t, 2, "", "--project: must be")
}

func TestSpendCap(t *testing.T) {
	b := newBench(t)
	b.reelay("spend", "cap", "film", "5").check(t, 3, "", "no reelay service answers on reelay.api.caps-set")
	b.serveStatus()
	kv, err := b.js.KeyValue(t.Context(), bucket.Caps)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args, key string
		want      bucket.Cap
		says      string
	}{
		{"film 20", "project.film", bucket.Cap{DailyUSD: 20, UnknownUSD: 1}, "project film: at most 20.00 US dollars a day"},
		{"project.all 0", "project.all", bucket.Cap{UnknownUSD: 1}, "project all: at most 0.00"},
		{"lane.fal 7.5 --unknown 0.25", "lane.fal", bucket.Cap{DailyUSD: 7.5, UnknownUSD: 0.25}, "lane fal: at most 7.50"},
		{"all 100", "all", bucket.Cap{DailyUSD: 100, UnknownUSD: 1}, "all: at most 100.00"},
	} {
		b.reelay(append([]string{"spend", "cap"}, strings.Fields(row.args)...)...).check(t, 0, row.says, "")
		entry, err := kv.Get(t.Context(), row.key)
		if err != nil {
			t.Fatal(err)
		}
		got := bucket.DecodeCap(entry.Value())
		if row.want.By = person(); got != row.want {
			t.Errorf("%s: the cap is %+v, want %+v", row.args, got, row.want)
		}
	}
	b.reelay("spend", "cap", "film", "off").check(t, 0, "project film: no cap", "")
	if _, err := kv.Get(t.Context(), "project.film"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the cap is still there: %v", err)
	}
	for args, want := range map[string]string{
		"film": "usd", "film much": "neither an amount", "film NaN": "neither an amount",
		"film 1e12": "neither an amount", "lane. 1": "is no project", "a.b.c 1": "is no project",
		"film 1 --unknown=-2": "--unknown",
	} {
		b.reelay(append([]string{"spend", "cap"}, strings.Fields(args)...)...).check(t, 2, "", want)
	}
}
