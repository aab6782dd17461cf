package poller

import (
	"testing"
	"time"
)

func TestStretched(t *testing.T) {
	rows := []struct {
		watched int
		budget  float64
		want    time.Duration
	}{
		{0, 50, 10 * time.Second},
		{400, 50, 10 * time.Second},
		{1_000, 50, 20 * time.Second},
		{10_000, 50, 200 * time.Second},
	}
	for _, row := range rows {
		p := pace{watched: row.watched}
		if got := p.stretched(10*time.Second, row.budget); got != row.want {
			t.Errorf("%d tasks, %v looks a second: %v, want %v", row.watched, row.budget, got, row.want)
		}
	}
}
