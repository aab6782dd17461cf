package emulator

import (
	"reflect"
	"testing"
	"time"
)

func TestLedgerKeepsTheTimesOfSubmits(t *testing.T) {
	l := new(Ledger)
	accept(t, l, job("a"))
	refused := Submit{At: epoch.Add(time.Second), API: "v1", Code: 1002}
	l.Refuse(refused)
	want := []Submit{{At: epoch, API: "v2", Accepted: true}, refused}
	if got := l.Submits(); !reflect.DeepEqual(got, want) {
		t.Errorf("submits %+v, want %+v", got, want)
	}
	if n := l.Calls()["submit_refused"]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	for range maxSubmits {
		l.Refuse(refused)
	}
	if n := len(l.Submits()); n > maxSubmits {
		t.Errorf("%d submits are kept, over the bound of %d", n, maxSubmits)
	}
}

func TestLedgerBills(t *testing.T) {
	l := new(Ledger)
	for _, id := range []string{"a", "b", "c"} {
		j := job(id)
		j.PriceUSD = 0.1
		accept(t, l, j)
	}
	if got := l.BilledUSD(); got != 0.3 {
		t.Errorf("billed %v, want each job's price: 0.3", got)
	}
	l.ChargeBy(func(j Job) float64 {
		if j.ID == "b" {
			return 0
		}
		return j.PriceUSD
	})
	if got := l.BilledUSD(); got != 0.2 {
		t.Errorf("billed %v, want 0.2", got)
	}
	if b, _ := l.Job("b"); l.Charged(b) != 0 {
		t.Errorf("b is charged %v, want nothing", l.Charged(b))
	}
}
