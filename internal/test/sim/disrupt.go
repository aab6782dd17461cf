package sim

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"reelay/internal/allinone"
	"reelay/internal/provider/registry"
)

// Replicas lists two of each service.
func Replicas() []string {
	var all []string
	for _, s := range allinone.Services() {
		all = append(all, s, s+"-2")
	}
	return all
}

const (
	// A disruption comes every minFaultGap to maxFaultGap.
	minFaultGap, maxFaultGap = 10 * time.Second, 3 * time.Minute
	// maxDowntime bounds how long a killed service, or the broker, is down, maxStall how long a service
	// is stalled.
	maxDowntime = time.Minute
	maxStall    = 5 * time.Minute
	// maxStorm is how long the providers refuse nearly everything for its rate.
	maxStorm = 4 * time.Minute
)

// Disrupt injects one disruption after the other: a service is killed or stalled, or the broker is stopped and started
// on its store. heal ends that, and all other faults of writes. What dies at an Aim is started again until end, which
// returns when everything runs.
func (c *Chaos) Disrupt(w *World) (heal, end func()) {
	calm, stop, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	healed := calm
	go func() {
		defer close(done)
		next := time.After(c.Between(minFaultGap, maxFaultGap))
		for {
			select {
			case name := <-c.dead:
				c.revive(w, name)
			case <-next:
				c.disruptOnce(w)
				next = time.After(c.Between(minFaultGap, maxFaultGap))
			case <-healed:
				healed, next = nil, nil
			case <-stop:
				for len(c.dead) > 0 {
					c.revive(w, <-c.dead)
				}
				return
			}
		}
	}()
	heal = func() {
		c.Heal()
		close(calm)
	}
	end = func() {
		close(stop)
		<-done
	}
	return heal, end
}

// disruptOnce injects one disruption.
func (c *Chaos) disruptOnce(w *World) {
	name := c.Pick(append(Replicas(), allinone.Webhook)...)
	switch n := c.Intn(6); {
	case n == 0 && c.Restarts:
		c.Count("broker stopped and started")
		w.Stack.HaltBroker()
		time.Sleep(c.Between(0, maxDowntime))
		if err := w.Stack.ResumeBroker(); err != nil {
			w.T.Errorf("restart of the broker: %v", err)
		}
	case n <= 2 && c.Stalls:
		c.Stall(name, c.Between(time.Second, maxStall))
	case n == 3:
		c.Count("storm of refusals")
		w.limit(1)
		time.Sleep(c.Between(time.Minute, maxStorm))
		w.limit(0)
	default:
		c.Count("killed " + name)
		c.Kill(name)
		c.revive(w, name)
	}
}

// revive starts a dead service again after a while.
func (c *Chaos) revive(w *World, name string) {
	w.Stack.CrashService(name)
	time.Sleep(c.Between(0, maxDowntime))
	for begin := time.Now(); ; time.Sleep(time.Second) { // its connection may not be there yet
		err := w.Stack.StartService(w.T.Context(), name)
		if err == nil {
			return
		}
		if time.Since(begin) > maxSilence {
			w.T.Errorf("restart of %s: %v", name, err)
			return
		}
		w.Stack.CrashService(name)
	}
}

// limit lets the emulators take only so many submits a minute; 0 is no limit.
func (w *World) limit(perMinute int) {
	client := http.Client{Transport: w.transport}
	for _, p := range registry.All() {
		body := strings.NewReader(fmt.Sprintf(`{"requests_per_minute":%d}`, perMinute))
		r, err := http.NewRequestWithContext(w.T.Context(), http.MethodPost, "http://"+p.Emulator+"/_emulator/limits", body)
		if err != nil {
			w.T.Error(err)
			return
		}
		res, err := client.Do(r)
		if err != nil {
			w.T.Error(err)
			return
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusNoContent {
			w.T.Errorf("limits of the emulator at %s: status %d, %v", p.Emulator, res.StatusCode, err)
		}
	}
}
