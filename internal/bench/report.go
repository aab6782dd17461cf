package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A Report is what was measured.
type Report struct {
	Sync  string `json:"sync"`
	Tasks int    `json:"tasks"`
	Alone int    `json:"alone"`
	Runs  []Run  `json:"runs"`
	// Rows are the medians over the runs; the ratio is the median of the runs' ratios.
	Rows []Row `json:"rows"`
}

// A Run is one measurement of both.
type Run struct {
	Loop   Half `json:"loop"`
	Reelay Half `json:"reelay"`
}

// A Half is one measurement of one of the two.
type Half struct {
	TasksPerS float64 `json:"tasks_per_s"`
	// CPUS is the processor time per 1,000 tasks, in seconds, and by process.
	CPUS   float64            `json:"cpu_s_per_1000"`
	CPUSOf map[string]float64 `json:"cpu_s_per_1000_by_process"`
	P50MS  float64            `json:"latency_p50_ms"`
	P99MS  float64            `json:"latency_p99_ms"`
	// In and Out are messages at the broker per task.
	In       float64 `json:"messages_in"`
	Out      float64 `json:"messages_out"`
	InKB     float64 `json:"kb_in"`
	OutKB    float64 `json:"kb_out"`
	MemoryMB float64 `json:"memory_mb"`
}

// A Row is one line of the table.
type Row struct {
	Name   string  `json:"name"`
	Loop   float64 `json:"loop"`
	Reelay float64 `json:"reelay"`
	Ratio  float64 `json:"ratio"`
}

func newHalf(tasks int, took time.Duration, times []time.Duration, before, after usage) Half {
	perTask := func(metric string) float64 { return (after.metrics[metric] - before.metrics[metric]) / float64(tasks) }
	slices.Sort(times)
	h := Half{
		TasksPerS: float64(tasks) / took.Seconds(), CPUS: 1000 * perTask(metricCPU), CPUSOf: map[string]float64{},
		P50MS: quantile(times, 0.5), P99MS: quantile(times, 0.99), In: perTask(metricIn), Out: perTask(metricOut),
		InKB: perTask(metricInBytes) / 1000, OutKB: perTask(metricOutBytes) / 1000,
		MemoryMB: after.metrics[metricMemory] / 1e6,
	}
	for name, seconds := range after.cpu {
		h.CPUSOf[name] = (seconds - before.cpu[name]) * 1000 / float64(tasks)
	}
	return h
}

// quantile returns a quantile of sorted times, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000
}

// sum makes the rows of the runs.
func (r *Report) sum() {
	for _, row := range []struct {
		name string
		of   func(Half) float64
	}{
		{"tasks/s", func(h Half) float64 { return h.TasksPerS }},
		{"CPU s per 1,000 tasks", func(h Half) float64 { return h.CPUS }},
		{"latency p50, ms", func(h Half) float64 { return h.P50MS }},
		{"latency p99, ms", func(h Half) float64 { return h.P99MS }},
		{"messages in per task", func(h Half) float64 { return h.In }},
		{"messages out per task", func(h Half) float64 { return h.Out }},
		{"KB in per task", func(h Half) float64 { return h.InKB }},
		{"KB out per task", func(h Half) float64 { return h.OutKB }},
		{"memory, MB", func(h Half) float64 { return h.MemoryMB }},
	} {
		r.Rows = append(r.Rows, Row{
			Name:   row.name,
			Loop:   r.median(func(run Run) float64 { return row.of(run.Loop) }),
			Reelay: r.median(func(run Run) float64 { return row.of(run.Reelay) }),
			Ratio:  r.median(func(run Run) float64 { return row.of(run.Reelay) / max(row.of(run.Loop), 1e-9) }),
		})
	}
}

// median returns the median over the runs.
func (r *Report) median(of func(Run) float64) float64 {
	var all []float64
	for _, run := range r.Runs {
		all = append(all, of(run))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[len(all)/2] + all[(len(all)-1)/2]) / 2
}

// Write writes the table.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%d tasks, %d one at a time, sync %s, medians of %d\tbare loop\treelay\tratio\t\n", r.Tasks, r.Alone, r.Sync,
		len(r.Runs))
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%.3g\t\n", row.Name, row.Loop, row.Reelay, row.Ratio)
	}
	for _, name := range r.processes() {
		fmt.Fprintf(t, "CPU of %s\t%.3g\t%.3g\t\n", name, r.median(func(run Run) float64 { return run.Loop.CPUSOf[name] }),
			r.median(func(run Run) float64 { return run.Reelay.CPUSOf[name] }))
	}
	return t.Flush()
}

// processes returns the names of all that were counted.
func (r *Report) processes() (names []string) {
	for _, run := range r.Runs {
		for _, h := range []Half{run.Loop, run.Reelay} {
			for name := range h.CPUSOf {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}
