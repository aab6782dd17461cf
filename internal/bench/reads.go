package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/sync/errgroup"

	"reelay/events"
)

const (
	// readTime is for how long each kind of read is measured, alone and by many at once.
	readTime = 5 * time.Second
	// readAnswer bounds one answer.
	readAnswer = 30 * time.Second
	// walked is how many tasks are listed page by page.
	walked = 100_000
)

// ReadOptions say how reads are measured.
type ReadOptions struct {
	// Bin is the directory of the services' binaries.
	Bin string
	// Stored is how many records are copied in, Askers how many clients ask at once.
	Stored, Askers int
	// Progress is told what is being done; nil tells nobody.
	Progress func(string)
}

// MeasureReads measures what the status service answers about many tasks, and how it starts.
func MeasureReads(ctx context.Context, o ReadOptions) (t Table, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runWait, errors.New("the reads did not end in time"))
	defer cancel()
	options := Options{Bin: o.Bin, Progress: o.Progress}
	err = options.onRecords(ctx, o.Stored, readRecord, func(w *world, _ *process, server string) error {
		t.Name = fmt.Sprintf("%d tasks stored, %d askers", o.Stored, o.Askers)
		options.progress("start")
		status, took, err := w.startTimed(ctx, options.bin("status"), "--server", server, "--log-level", "warn")
		if err != nil {
			return err
		}
		t.add("start of status, s", took.Seconds())
		r := reader{ctx: ctx, table: &t, status: status}
		if err := r.used("after the start"); err != nil {
			return err
		}
		if err := r.reads(server, o, options.progress); err != nil {
			return err
		}
		options.progress("start after kill -9")
		_, took, err = w.restart(ctx, status)
		t.add("start of status after kill -9, s", took.Seconds())
		return err
	})
	return t, err
}

// reads measures every kind of read.
func (r *reader) reads(server string, o ReadOptions, tell func(string)) error {
	for range o.Askers {
		nc, err := nats.Connect(server, nats.Name("reelay bench"))
		if err != nil {
			return fmt.Errorf("broker at %s: %w", server, err)
		}
		defer nc.Close() // after all that asks
		r.conns = append(r.conns, nc)
	}
	for _, m := range readMeasures(o.Stored) {
		tell(m.name)
		if err := r.measure(m); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	tell("pages")
	if err := r.walk(min(walked, o.Stored*9/10)); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	return r.used("after the reads")
}

// used tells what the status service has used so far.
func (r *reader) used(when string) error {
	used, err := usageOf(r.ctx, []*process{r.status})
	if err != nil {
		return err
	}
	r.table.add("CPU of status "+when+", s", used.metrics[metricCPU])
	r.table.add("memory of status "+when+", MB", used.metrics[metricMemory]/1e6)
	return nil
}

// A readMeasure is one kind of read.
type readMeasure struct {
	name    string
	request func(n int) (subject string, data []byte)
}

func readMeasures(stored int) []readMeasure {
	list := func(data string) func(int) (string, []byte) {
		return func(int) (string, []byte) { return events.APISubject(events.VerbList, project), []byte(data) }
	}
	return []readMeasure{
		{"get", func(n int) (string, []byte) {
			return events.APISubject(events.VerbGet, project, readRecord(n*7919%stored).ID), nil
		}},
		{"list, first page", list("")},
		{"list, in_progress", list(`{"status":["in_progress"]}`)},
		{"list, one scene", list(`{"scene_id":"scene-17"}`)},
		{"list of all projects", func(int) (string, []byte) { return events.APISubject(events.VerbList), nil }},
		{"queue", func(int) (string, []byte) { return events.APISubject(events.VerbQueue, project), nil }},
	}
}

// A reader asks the status service.
type reader struct {
	ctx    context.Context
	conns  []*nats.Conn
	status *process
	table  *Table
}

// ask asks once. An answer that is an error is one.
func (r *reader) ask(nc *nats.Conn, subject string, data []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(r.ctx, readAnswer)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", subject, err)
	}
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return nil, fmt.Errorf("%s: %s", subject, text)
	}
	return m, nil
}

// measure asks alone, and then by all askers at once.
func (r *reader) measure(m readMeasure) error {
	var times []time.Duration
	for n, begin := 0, time.Now(); time.Since(begin) < readTime; n++ {
		subject, data := m.request(n)
		asked := time.Now()
		if _, err := r.ask(r.conns[0], subject, data); err != nil {
			return err
		}
		times = append(times, time.Since(asked))
	}
	slices.Sort(times)
	before, err := usageOf(r.ctx, []*process{r.status})
	if err != nil {
		return err
	}
	begin := time.Now()
	answers, err := r.together(m)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := usageOf(r.ctx, []*process{r.status})
	if err != nil {
		return err
	}
	r.table.add(m.name+": p50 alone, ms", quantile(times, 0.5))
	r.table.add(m.name+": p99 alone, ms", quantile(times, 0.99))
	r.table.add(m.name+": answers/s, all askers", answers/took.Seconds())
	r.table.add(m.name+": CPU ms of status each", 1000*(after.metrics[metricCPU]-before.metrics[metricCPU])/answers)
	return nil
}

// together has all askers ask for readTime, and returns how many answers they got.
func (r *reader) together(m readMeasure) (float64, error) {
	var all errgroup.Group
	var answers atomic.Int64
	begin := time.Now()
	for i, nc := range r.conns {
		all.Go(func() error {
			for n := i * 1000; time.Since(begin) < readTime; n++ {
				subject, data := m.request(n)
				if _, err := r.ask(nc, subject, data); err != nil {
					return err
				}
				answers.Add(1)
			}
			return nil
		})
	}
	err := all.Wait()
	return float64(answers.Load()), err
}

// walk lists so many tasks page by page, and compares the first tenth of the pages with the last.
func (r *reader) walk(tasks int) error {
	var times []time.Duration
	request := events.ListRequest{Limit: events.MaxListLimit}
	for seen := 0; seen < tasks; seen += request.Limit {
		data, err := events.Marshal(request)
		if err != nil {
			return err
		}
		asked := time.Now()
		m, err := r.ask(r.conns[0], events.APISubject(events.VerbList, project), data)
		if err != nil {
			return err
		}
		times = append(times, time.Since(asked))
		var page struct {
			NextCursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal(m.Data, &page); err != nil {
			return fmt.Errorf("page %d: %w", len(times), err)
		}
		if request.Cursor = page.NextCursor; request.Cursor == "" {
			break
		}
	}
	tenth := max(1, len(times)/10)
	first, last := times[:tenth], times[len(times)-tenth:]
	slices.Sort(first)
	slices.Sort(last)
	r.table.add(fmt.Sprintf("page of %d, first of %d tasks: p50, ms", request.Limit, tasks), quantile(first, 0.5))
	r.table.add(fmt.Sprintf("page of %d, last of %d tasks: p50, ms", request.Limit, tasks), quantile(last, 0.5))
	return nil
}
