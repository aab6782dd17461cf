package bucket_test

import (
	"testing"

	"reelay/events"
	"reelay/events/bucket"
)

// TestCap: what is written is what is read, also that attempts of unknown price count nothing. A figure that is left out
// has its default, and what cannot be read allows nothing.
func TestCap(t *testing.T) {
	for _, c := range []bucket.Cap{{DailyUSD: 5}, {DailyUSD: 5, UnknownUSD: 2, By: "heron"}, {}} {
		value, err := events.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := bucket.DecodeCap(value); got != c {
			t.Errorf("%s is read as %+v", value, got)
		}
	}
	if got := bucket.DecodeCap([]byte(`{"daily_usd":5}`)); got.UnknownUSD != bucket.DefaultUnknownUSD {
		t.Errorf("without unknown_usd: %+v", got)
	}
	for _, value := range []string{``, `{}`, `{"daily_usd":-1}`, `{"daily_usd":5,"unknown_usd":-1}`} {
		if got := bucket.DecodeCap([]byte(value)); got.DailyUSD != 0 || got.UnknownUSD != bucket.DefaultUnknownUSD {
			t.Errorf("%s is read as %+v", value, got)
		}
	}
}
