package archiver

import (
	"context"
	"errors"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/artifact"
	"reelay/internal/bus"
	"reelay/internal/task"
)

// quietTime is how long after the last step of a task it can be erased: whoever has taken the step may be publishing its
// events until then.
const quietTime = 30 * time.Second

// erase answers erase. The record is told first, so that nothing is published of it any more; what names the files stays
// in it until they are gone, so that a repetition goes on where this has stopped.
func (s *Service) erase(ctx context.Context, c api.Call) (any, error) {
	r, err := events.DecodeEraseRequest(c.Data)
	if err != nil {
		return nil, err
	}
	t, err := s.records.Get(ctx, c.Key)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return nil, api.Fail(404, events.CodeNotFound, events.KindNotFound, "there is no task %s", c.Key)
	case err != nil:
		return nil, s.unreadable(err)
	case t.Phase != events.PhaseDone:
		return nil, api.Conflict(events.CodeConflict, "", "task %s has not ended: cancel it first", c.Key)
	case t.ErasedAt == nil && quietFor(t, now()) < quietTime:
		return nil, api.Conflict(events.CodeConflict, "", "events of task %s may still be on their way; ask again in %v", c.Key, quietTime)
	}
	reply, err := s.eraseEnded(ctx, t, r.Only)
	if errors.Is(err, task.ErrNotApplicable) {
		return nil, api.Conflict(events.CodeConflict, "", "the end of task %s is not announced yet; ask again in a minute", c.Key)
	}
	if err != nil {
		s.log.WarnContext(ctx, "a task could not be erased completely; asking again goes on", "task", c.Key, "error", err)
		return nil, api.Unavailable("the task is not erased completely; ask again")
	}
	s.log.InfoContext(ctx, "a task was erased on request", "task", c.Key, "only", r.Only, "files", reply.Deleted)
	return reply, nil
}

// quietFor is how long ago the last step of a task was.
func quietFor(t events.Task, at time.Time) time.Duration {
	if len(t.Transitions) == 0 {
		return at.Sub(t.CreatedAt)
	}
	return at.Sub(t.Transitions[len(t.Transitions)-1].At)
}

func (s *Service) eraseEnded(ctx context.Context, t events.Task, only events.ErasePart) (reply events.EraseReply, err error) {
	meta := task.Meta{At: now(), By: name}
	if only != events.EraseOutputs {
		c, err := s.records.Apply(ctx, t.Key(), task.Erase{Meta: meta})
		if err != nil {
			return reply, err
		}
		t = c.Task
		if err := s.o.Bus.PurgeTask(ctx, t.Key()); err != nil {
			return reply, err
		}
	}
	d, err := s.eraseFiles(ctx, t)
	if err != nil {
		return reply, err
	}
	reply.Deleted, reply.Shared = len(d.gone), d.named
	if err := s.eraseObjects(ctx, t, only); err != nil {
		return reply, err
	}
	var last task.Trigger = task.Erased{Meta: meta}
	if only == events.EraseOutputs {
		last = task.Dropped{Meta: meta, Outputs: allOutputs(t), Err: task.ErasedOutput(), Erase: true}
	}
	c, err := s.records.Apply(ctx, t.Key(), last)
	reply.Task = c.Task
	return reply, err
}

func allOutputs(t events.Task) (all []int) {
	if t.Result != nil {
		for i := range t.Result.Outputs {
			all = append(all, i)
		}
	}
	return all
}

// eraseFiles deletes the stored files of a task that no other has made.
func (s *Service) eraseFiles(ctx context.Context, t events.Task) (deleted, error) {
	var files []artifact.File
	if t.Result != nil {
		for i, o := range t.Result.Outputs {
			s.spool.remove(t.Key(), i)
			if n, ok := nameOf(o.StoredURL); ok && !slices.ContainsFunc(files, func(f artifact.File) bool { return f.Name == n }) {
				files = append(files, artifact.File{Name: n, Size: o.Size})
			}
		}
	}
	if len(files) == 0 {
		return deleted{}, nil
	}
	defer s.usage.forget(t.Project)
	return s.deleteUnnamed(ctx, t.Project, files, t.Key())
}

// eraseObjects deletes the objects that hold what was too large for a task's record. They are named by their bytes and
// may be of several tasks.
func (s *Service) eraseObjects(ctx context.Context, t events.Task, only events.ErasePart) error {
	mine := objectsOf(t)
	if only == events.EraseOutputs {
		mine = outputObjects(t.Result)
	}
	if len(mine) == 0 {
		return nil
	}
	err := s.o.Bus.ReadProject(ctx, "", func(other events.Task) {
		if other.Key() != t.Key() {
			shared := objectsOf(other)
			mine = slices.DeleteFunc(mine, func(n string) bool { return slices.Contains(shared, n) })
		}
	})
	for _, n := range mine {
		if err == nil {
			err = s.o.Bus.DeleteObject(ctx, n)
		}
	}
	return err
}

// objectsOf returns the names of the objects that a record refers to.
func objectsOf(t events.Task) []string {
	all := outputObjects(t.Result)
	add := func(n string) {
		if n != "" {
			all = append(all, n)
		}
	}
	add(t.InputRef)
	if t.Result != nil {
		add(t.Result.RawRef)
	}
	for _, a := range t.Attempts {
		if a.Result != nil {
			add(a.Result.RawRef)
			all = append(all, outputObjects(a.Result)...)
		}
	}
	return all
}

func outputObjects(r *events.Result) (all []string) {
	if r == nil {
		return nil
	}
	for _, o := range r.Outputs {
		if o.Object != "" {
			all = append(all, o.Object)
		}
	}
	return all
}
