package archiver

import (
	"context"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/api"
	"reelay/internal/artifact"
	"reelay/internal/task"
)

// Collection
//
// Files are kept for ever, unless a retention is set for their project, or an operator collects them by their age. When
// the retention of a task's outputs is over its record is told first, and only what no record names is then deleted: not
// what a task is about to name (leases.go), and nothing that is younger than operator.MinArtifactAge.

// collectEvery is how often files are collected where a retention is set.
const collectEvery = time.Hour

// collectLoop collects files until ctx ends.
func (s *Service) collectLoop(ctx context.Context) error {
	if !s.o.Limits.Retains() {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		r := operator.GCRequest{ArtifactsRequest: operator.ArtifactsRequest{Limit: operator.MaxArtifactsLimit}}
		for {
			reply, err := s.collect(ctx, r)
			if err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "files whose retention is over could not be collected; it is tried again", "again_in", collectEvery, "error", err)
			}
			if r.After = reply.NextAfter; err != nil || r.After == "" {
				break
			}
		}
	}
}

func (s *Service) gc(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeGCRequest(c.Data)
	if err != nil {
		return nil, err
	}
	reply, err := s.collect(ctx, r)
	if err != nil {
		return nil, s.unreadable(err)
	}
	return reply, nil
}

// collect deletes what no record names any more of one page of files. On the first page it tells records first whose
// retention is over.
func (s *Service) collect(ctx context.Context, r operator.GCRequest) (operator.GCReply, error) {
	reply := operator.GCReply{Deleted: []operator.ArtifactFile{}}
	var over []events.Task
	at := now()
	known, err := s.readNames(ctx, r.Project, func(t events.Task) {
		if len(s.retentionOver(t, at)) > 0 {
			over = append(over, events.Task{ID: t.ID, Project: t.Project})
		}
	})
	if err != nil {
		return reply, err
	}
	if r.After == "" {
		if reply.Expired, err = s.expire(ctx, over, at, r.DryRun); err != nil {
			return reply, err
		}
	}
	if reply.Expired > 0 && !r.DryRun { // the records say so now
		if known, err = s.readNames(ctx, r.Project, nil); err != nil {
			return reply, err
		}
	}
	files, next, err := s.page(ctx, r.Project, r.After, r.Limit)
	if err != nil {
		return reply, err
	}
	reply.NextAfter = next
	old := map[string][]artifact.File{}
	for _, f := range files {
		switch {
		case known.taskOf(f.Name) != "":
		case s.isCollected(f, time.Duration(r.OlderThan), at) && !known.mayBeStoring(f):
			old[f.Name.Project] = append(old[f.Name.Project], f)
		default:
			reply.Unnamed++
		}
	}
	for project, files := range old {
		gone := files
		if !r.DryRun {
			d, err := s.deleteUnnamed(ctx, project, files, events.Key{})
			if err != nil {
				return reply, err
			}
			gone = d.gone
			s.usage.forget(project)
			s.log.InfoContext(ctx, "files that no record names were deleted", "project", project, "files", len(gone))
		}
		for _, f := range gone {
			reply.Deleted = append(reply.Deleted, artifactFile(f, ""))
		}
	}
	return reply, nil
}

// isCollected reports whether a file is old enough, by the retention of its project or by what an operator says.
func (s *Service) isCollected(f artifact.File, olderThan time.Duration, at time.Time) bool {
	if olderThan == 0 {
		olderThan = s.o.Limits.Retention.Of(f.Name.Project)
	}
	return olderThan > 0 && at.Sub(f.StoredAt) > max(olderThan, operator.MinArtifactAge)
}

// retentionOver returns the indexes of the outputs of a task that its project keeps no longer.
func (s *Service) retentionOver(t events.Task, at time.Time) []int {
	retention := s.o.Limits.Retention.Of(t.Project)
	if retention == 0 || t.Result == nil || t.Phase != events.PhaseDone || at.Sub(resultAt(t)) <= retention {
		return nil
	}
	var over []int
	for i, o := range t.Result.Outputs {
		if o.StoredURL != "" {
			over = append(over, i)
		}
	}
	return over
}

// expire tells records that their outputs are kept no longer, and counts those.
func (s *Service) expire(ctx context.Context, over []events.Task, at time.Time, dryRun bool) (n int, err error) {
	for _, old := range over {
		t, err := s.records.Get(ctx, old.Key())
		if err != nil {
			return n, err
		}
		outputs := s.retentionOver(t, at)
		n += len(outputs)
		if dryRun || len(outputs) == 0 {
			continue
		}
		_, err = s.records.Apply(ctx, t.Key(), task.Dropped{
			Meta: task.Meta{At: at, By: name}, Outputs: outputs, Err: &events.Error{
				Code: events.CodeRetentionOver, Kind: events.KindInvalid, Charge: events.ChargeConfirmed,
				Message: "project " + t.Project + " keeps files for " + s.o.Limits.Retention.Of(t.Project).String(),
			},
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
