package bench

import (
	"os"
	"testing"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/taskstore"
	"reelay/internal/test/broker"
)

// TestCopyIn: what is copied in are records that this build reads, one of ten of which waits, and one is under way.
func TestCopyIn(t *testing.T) {
	b := broker.Start(t)
	on := b.Open(bus.Options{})
	for i := range 20 {
		b.OK(taskstore.CopyIn(b.Context(), on, readRecord(i)))
	}
	phases := map[events.Phase]int{}
	b.OK(on.ReadTasks(b.Context(), func(t events.Task) { phases[t.Phase]++ }))
	if phases[events.PhaseWaiting] != 2 || phases[events.PhaseRunning] != 2 || phases[events.PhaseDone] != 16 {
		t.Errorf("%v", phases)
	}
	if a, b := waitingRecord(1), waitingRecord(2); a.Key() == b.Key() || !a.Key().Valid() {
		t.Errorf("%v and %v", a.Key(), b.Key())
	}
}

func ExampleTable() {
	t := Table{Name: "7 tasks stored, 2 askers"}
	t.add("get: p50 alone, ms", 0.25)
	t.add("get: answers/s, all askers", 4000)
	_ = t.Write(os.Stdout) // it takes all
	// Output:
	//     7 tasks stored, 2 askers
	//           get: p50 alone, ms  0.25
	//   get: answers/s, all askers  4000
}
