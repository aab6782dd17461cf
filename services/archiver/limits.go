package archiver

import "time"

// Limits are what an operator has set for the files of projects.
type Limits struct {
	// Retention is for how long after its result a task's files are kept; 0 for ever.
	Retention PerProject[time.Duration]
	// MaxBytes bounds the files of one project; 0 for no bound.
	MaxBytes PerProject[int64]
}

// LimitSettings are limits as an operator writes them: for all projects, and for single ones.
type LimitSettings interface {
	Retentions() (all time.Duration, of map[string]time.Duration, err error)
	ProjectBytes() (all int64, of map[string]int64, err error)
}

// ReadLimits returns the limits of settings, or their error.
func ReadLimits(s LimitSettings) (l Limits, err error) {
	if l.Retention.Default, l.Retention.By, err = s.Retentions(); err != nil {
		return l, err
	}
	l.MaxBytes.Default, l.MaxBytes.By, err = s.ProjectBytes()
	return l, err
}

// Retains reports whether any project's files are not kept for ever.
func (l Limits) Retains() bool {
	if l.Retention.Default > 0 {
		return true
	}
	for _, d := range l.Retention.By {
		if d > 0 {
			return true
		}
	}
	return false
}

// PerProject is a setting that projects may have one of their own of.
type PerProject[T any] struct {
	Default T
	By      map[string]T
}

// Of returns what is set for a project.
func (p PerProject[T]) Of(project string) T {
	if v, ok := p.By[project]; ok {
		return v
	}
	return p.Default
}
