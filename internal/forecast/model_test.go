package forecast_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

// TestLevels: what is not known of a size is taken from its model, and what is not of a model from its provider.
func TestLevels(t *testing.T) {
	s := newFixture(t)
	for range 30 {
		s.pending = append(s.pending, forecast.Sample{Class: class, At: epoch, Whole: 1000 * time.Second})
	}
	s.flush()
	with := func(change func(*forecast.Class)) forecast.Class { c := class; change(&c); return c }
	rows := []struct {
		name  string
		class forecast.Class
		know  int
		about float64
	}{
		{"its own", class, 30, 1000},
		{"another size", with(func(c *forecast.Class) { c.Size = "s12" }), 30, 1000},
		{"no size", with(func(c *forecast.Class) { c.Size = "" }), 30, 1000},
		{"another model", with(func(c *forecast.Class) { c.Model = "other" }), 30, 1000},
		{"another task type", with(func(c *forecast.Class) { c.TaskType = events.Image }), 0, 10},
		{"another provider", with(func(c *forecast.Class) { c.Provider = "fal" }), 0, 180},
	}
	for _, row := range rows {
		f := s.model.Forecast(row.class)
		if median := f.Curve(forecast.Whole).Remaining(0, 0.5).Seconds(); f.Samples() != row.know ||
			math.Abs(math.Log(median/row.about)) > 0.1 {
			t.Errorf("%s: %d samples, median %.0f s; want %d, about %.0f", row.name, f.Samples(), median, row.know, row.about)
		}
	}
	keys := class.Keys()
	for i := len(keys) - 1; i >= 0; i-- { // forgotten from the special to the general
		if err := s.model.Put(keys[i], nil); err != nil {
			t.Fatal(err)
		}
		if n := s.model.Forecast(class).Samples(); n != 30 && i > 0 || n != 0 && i == 0 {
			t.Errorf("without %s: %d samples", keys[i], n)
		}
	}
}

// TestLevelsAbove: a size that knows little changes its mind with its model.
func TestLevelsAbove(t *testing.T) {
	s := newFixture(t)
	late := func() time.Duration { return s.model.Forecast(class).Curve(forecast.Whole).Remaining(0, 0.9) }
	s.teach(forecast.Sample{Class: class, At: epoch, Whole: 100 * time.Second})
	before := late()
	s.class.Size = "s12"
	for range 50 {
		s.pending = append(s.pending, forecast.Sample{Class: s.class, At: epoch, Whole: 2000 * time.Second})
	}
	s.flush()
	if after := late(); after < 2*before {
		t.Errorf("nine of ten within %v before, %v after the model was learned", before, after)
	}
}

// TestStoredSize: no history, however odd, is stored in more than the limit, and none grows without end.
func TestStoredSize(t *testing.T) {
	s, r := newFixture(t), rand.New(rand.NewPCG(8, 8))
	wide := func() time.Duration { return seconds(math.Exp(16*r.Float64() - 3)) }
	for range 40 {
		for range 50 {
			s.pending = append(s.pending, forecast.Sample{Class: class, At: epoch, Wait: wide(), Run: wide(), Whole: wide()})
		}
		s.flush()
	}
	for key, value := range s.stored {
		t.Logf("%s: %d bytes", key, len(value))
		if len(value) > forecast.MaxLevelBytes {
			t.Errorf("%s: %d bytes", key, len(value))
		}
	}
}

// TestMaxKeys: a class beyond the limit is not learned, and goes by the level above.
func TestMaxKeys(t *testing.T) {
	a := forecast.NewModel()
	one := forecast.Sample{Class: class, At: epoch, Whole: time.Minute}
	value, err := a.Learn("fal.video", nil, []forecast.Sample{one})
	if err != nil {
		t.Fatal(err)
	}
	for i := range forecast.MaxKeys {
		if err := a.Put(fmt.Sprintf("fal.video.m%d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Put("fal.video.more", value); !errors.Is(err, forecast.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if _, err := a.Learn("fal.video.more", nil, nil); !errors.Is(err, forecast.ErrFull) {
		t.Errorf("learning one more: %v", err)
	}
	if _, err := a.Learn("fal.video.m1", value, []forecast.Sample{one}); err != nil {
		t.Errorf("learning a known one: %v", err)
	}
}

func TestPutErrors(t *testing.T) {
	good := string(newGood(t))
	rows := []struct{ name, value string }{
		{"empty", ``},
		{"not JSON", `{`},
		{"another version", strings.Replace(good, `"version":1`, `"version":2`, 1)},
		{"nothing in it", `{"version":1}`},
		{"negative odds", strings.Replace(good, `"odds":[0.`, `"odds":[-1,0.`, 1)},
		{"a bin out of range", strings.Replace(good, `"short":[[`, `"short":[[99999,1],[`, 1)},
		{"a bin of no weight", strings.Replace(good, `"short":[[`, `"short":[[80,0],[`, 1)},
		{"half a bin", strings.Replace(good, `"short":[[`, `"short":[[80.5,1],[`, 1)},
		{"too many bins", strings.Replace(good, `"short":[`, `"short":[`+strings.Repeat(`[80,1],`, 200), 1)},
		{"too large", good + strings.Repeat(" ", forecast.MaxLevelBytes)},
	}
	a := forecast.NewModel()
	for _, row := range rows {
		if err := a.Put("fal.video", []byte(row.value)); !errors.Is(err, forecast.ErrLevel) {
			t.Errorf("%s: %v", row.name, err)
		}
		if row.value == good {
			t.Errorf("%s: the row breaks nothing", row.name)
		}
	}
	if err := a.Put("fal.video", []byte(good)); err != nil {
		t.Error(err)
	}
}

// newGood is a stored value.
func newGood(tb testing.TB) []byte {
	s := newFixture(tb)
	for range 3 {
		s.teach(forecast.Sample{
			Class: class, At: epoch, Wait: time.Second, Run: time.Minute,
			Whole: time.Minute + time.Second,
		})
	}
	return s.stored[class.Keys()[2]]
}

// FuzzPut: no stored value makes a model panic, or tell nonsense.
func FuzzPut(f *testing.F) {
	f.Add(newGood(f))
	f.Add([]byte(`{"version":1,"stages":[{},{},{}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		a := forecast.NewModel()
		key := class.Keys()[2]
		if a.Put(key, value) != nil {
			return
		}
		next, err := a.Learn(key, value, []forecast.Sample{{Class: class, At: epoch, Whole: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Put(key, next); err != nil {
			t.Fatalf("what was learned cannot be read: %v", err)
		}
		known := a.Forecast(class)
		for _, s := range []forecast.Stage{forecast.Wait, forecast.Run, forecast.Whole} {
			if left := known.Curve(s).Remaining(time.Minute, 0.5); left < 0 {
				t.Fatalf("%v remain", left)
			}
			if gap := known.Schedule(s, every).Gap(time.Minute, 1); gap <= 0 || gap > 90*time.Second {
				t.Fatalf("a gap of %v", gap)
			}
		}
	})
}

func TestSampleOf(t *testing.T) {
	at := func(s float64) *time.Time { v := epoch.Add(seconds(s)); return &v }
	done := events.Task{
		Status: events.StatusCompleted, SubmittedAt: at(0), StartedAt: at(20), CompletedAt: at(120), Result: &events.Result{},
	}
	with := func(change func(*events.Task)) events.Task { t := done; change(&t); return t }
	rows := []struct {
		name             string
		task             events.Task
		ok               bool
		wait, run, whole float64
	}{
		{"seen running", done, true, 20, 96, 116},
		{"not seen running", with(func(t *events.Task) { t.StartedAt = at(120) }), true, 0, 0, 116},
		{"first seen when it had finished", with(func(t *events.Task) {
			t.Transitions = []events.Transition{{At: *at(20), From: events.PhaseProviderQueued, To: events.PhaseFetching}}
		}), true, 0, 0, 116},
		{"fetched after it was seen running", with(func(t *events.Task) {
			t.Transitions = []events.Transition{{At: *at(20), To: events.PhaseRunning}, {At: *at(110), To: events.PhaseFetching}}
		}), true, 20, 96, 116},
		{"start not known", with(func(t *events.Task) { t.StartedAt = nil }), true, 0, 0, 116},
		{"failed", with(func(t *events.Task) { t.Status = events.StatusFailed }), false, 0, 0, 0},
		{"late", with(func(t *events.Task) { t.Result = &events.Result{Late: true} }), false, 0, 0, 0},
		{"never submitted", with(func(t *events.Task) { t.SubmittedAt = nil }), false, 0, 0, 0},
		{"ended at once", with(func(t *events.Task) { t.CompletedAt = at(1); t.StartedAt = nil }), true, 0, 0, 0.001},
	}
	for _, row := range rows {
		s, ok := forecast.SampleOf(row.task, 4*time.Second)
		if ok != row.ok || s.Wait != seconds(row.wait) || s.Run != seconds(row.run) || s.Whole != seconds(row.whole) {
			t.Errorf("%s: %v, %v, %v, %t", row.name, s.Wait, s.Run, s.Whole, ok)
		}
	}
}
