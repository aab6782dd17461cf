package main

import (
	"testing"

	"reelay/events/bucket"
)

// TestQuotas: what is set counts over what all projects have, flags change only what they name, and an empty quota is
// none.
func TestQuotas(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	kv, err := b.js.KeyValue(t.Context(), bucket.Quotas)
	if err != nil {
		t.Fatal(err)
	}
	b.reelay("quotas").check(t, 0, "_all     100000", "")
	b.reelay("quotas", "set", "film", "--waiting", "500").check(t, 0, "film     500", "")
	b.reelay("quotas", "set", "_all", "--requests=7").check(t, 0, "_all     100000   7", "")
	b.reelay("quotas", "set", "film", "--waits", "9").check(t, 0, "film     500", "")
	b.reelay("quotas", "film", "--json").check(t, 0, `"requests_per_second": 7`, "")
	entry, err := kv.Get(t.Context(), "film")
	if err != nil {
		t.Fatal(err)
	}
	if q, err := bucket.DecodeQuota(entry.Value()); err != nil || q != (bucket.Quota{Waiting: 500, Waits: 9, By: person()}) {
		t.Errorf("%+v, %v", q, err)
	}
	b.reelay("quotas", "set", "film", "--reset").check(t, 0, "film     100000   7", "")
	if _, err := kv.Get(t.Context(), "film"); err == nil {
		t.Error("an empty quota is stored")
	}
	b.reelay("quotas", "set", "film", "--waiting=-1").check(t, 2, "", bucket.QuotaWaiting)
	b.reelay("quotas", "set", "a.b").check(t, 2, "", "is no project")
}
