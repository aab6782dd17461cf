package learner_test

import (
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/forecast"
	"reelay/internal/forecast/learner"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// A fixture is a real broker within a bubble.
type fixture struct{ *broker.Broker }

func bubble(t *testing.T, f func(b *fixture)) {
	t.Helper()
	broker.Run(t, func(b *broker.Broker) { f(&fixture{b}) })
}

// run runs a learner until stop is called.
func (b *fixture) run() (a *learner.Learner, stop func() error) {
	b.Helper()
	a = learner.New(learner.Options{Bus: b.Open(bus.Options{}), Log: b.Logger})
	return a, broker.Begin(b, a.Run)
}

var task = events.Task{
	Provider: "fal", TaskType: events.Video, Model: "fal-ai/kling-video/v3",
	Input: []byte(`{"duration":"5"}`),
}

func sample(takes time.Duration) forecast.Sample {
	return forecast.Sample{Class: forecast.ClassOf(task), At: time.Now(), Whole: takes}
}

// versions counts the writes of the bucket.
func (b *fixture) versions() uint64 {
	b.Helper()
	s, err := b.Open(bus.Options{}).JetStream().Stream(b.Context(), "KV_"+bucket.Forecasts)
	if err != nil {
		b.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// TestShared: what one process learns all know, and one that starts later.
func TestShared(t *testing.T) {
	bubble(t, func(b *fixture) {
		one, stopOne := b.run()
		two, _ := b.run()
		for range 10 {
			one.Learn(sample(time.Minute))
			two.Learn(sample(time.Minute))
		}
		if n := one.Forecast(task).Samples(); n != 0 {
			b.Errorf("%d samples are known before they are stored", n)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if one, two := one.Forecast(task).Samples(), two.Forecast(task).Samples(); one != 20 || two != 20 {
			b.Errorf("%d and %d samples, want 20 of both", one, two)
		}
		if writes := b.versions(); writes != 6 {
			b.Errorf("%d writes, want one of each process to each of three levels", writes)
		}
		one.Learn(sample(time.Minute))
		b.OK(stopOne()) // stores what is left
		three, _ := b.run()
		if n := three.Forecast(task).Samples(); n != 21 {
			b.Errorf("%d samples after a restart, want 21", n)
		}
	})
}

// TestFlush: many samples are stored at once, few together after a while.
func TestFlush(t *testing.T) {
	bubble(t, func(b *fixture) {
		a, _ := b.run()
		for range 500 {
			a.Learn(sample(time.Minute))
		}
		synctest.Wait()
		if n := a.Forecast(task).Samples(); n != 500 {
			b.Errorf("%d samples at once, want 500", n)
		}
		a.Learn(sample(time.Minute))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if n := a.Forecast(task).Samples(); n != 500 {
			b.Errorf("%d samples after 4 s, want 500", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := a.Forecast(task).Samples(); n != 501 {
			b.Errorf("%d samples after 6 s, want 501", n)
		}
	})
}

// TestForeign: what nobody can read is forgotten and written anew.
func TestForeign(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		keys := forecast.ClassOf(task).Keys()
		b.OK(on.Bucket(bucket.Forecasts, "forecast").Put(b.Context(), keys[2], []byte(`{"version":99}`)))
		a, _ := b.run()
		if n := a.Forecast(task).Samples(); n != 0 {
			b.Errorf("%d samples", n)
		}
		a.Learn(sample(time.Minute))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := a.Forecast(task).Samples(); n != 1 {
			b.Errorf("%d samples, want 1", n)
		}
	})
}

// TestOutage: without a broker a learner drops samples and goes on, and what it knew it still knows.
func TestOutage(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		a := learner.New(learner.Options{Bus: on, Log: b.Logger})
		go func() { _ = a.Run(b.Context()) }()
		a.Learn(sample(time.Minute))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		on.Conn().Close()
		for range 2_000 {
			a.Learn(sample(time.Hour))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := a.Forecast(task).Samples(); n != 1 {
			b.Errorf("%d samples, want the one that was stored", n)
		}
	})
}
