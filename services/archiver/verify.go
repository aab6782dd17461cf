package archiver

import (
	"context"
	"errors"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/api"
	"reelay/internal/artifact"
)

const (
	// verifyBudget is how long one page of artifacts-verify begins with further files. verifyFileWait bounds the reading of
	// one file.
	verifyBudget   = 10 * time.Second
	verifyFileWait = operator.MaxVerifyWait - verifyBudget
)

// list answers with the files of the store.
func (s *Service) list(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeArtifactsRequest(c.Data)
	if err != nil {
		return nil, err
	}
	known, files, next, err := s.namedPage(ctx, r)
	if err != nil {
		return nil, s.unreadable(err)
	}
	reply := operator.ArtifactsReply{Files: []operator.ArtifactFile{}, NextAfter: next}
	for _, f := range files {
		reply.Files = append(reply.Files, artifactFile(f, known.taskOf(f.Name)))
	}
	return reply, nil
}

// artifactFile is a file as answers show it, with a task that has made it.
func artifactFile(f artifact.File, task string) operator.ArtifactFile {
	return operator.ArtifactFile{Name: f.Name.String(), Size: f.Size, StoredAt: f.StoredAt, Task: task}
}

// namedPage lists a page of files, and what records name.
func (s *Service) namedPage(ctx context.Context, r operator.ArtifactsRequest) (
	known names, files []artifact.File, next string, err error,
) {
	if known, err = s.readNames(ctx, r.Project, nil); err == nil {
		files, next, err = s.page(ctx, r.Project, r.After, r.Limit)
	}
	return known, files, next, err
}

// verify reads and hashes the files of a page, and tells which files of that part of the store are missing.
func (s *Service) verify(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeArtifactsRequest(c.Data)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.Stop, cancel)()
	known, files, next, err := s.namedPage(ctx, r)
	if err != nil {
		return nil, s.unreadable(err)
	}
	reply := operator.VerifyReply{Faults: []operator.FaultyArtifact{}, NextAfter: next}
	there := map[string]bool{}
	for _, f := range files {
		there[f.Name.String()] = true
	}
	begun := time.Now()
	for i, f := range files {
		if i > 0 && time.Since(begun) > verifyBudget {
			reply.NextAfter = files[i-1].Name.String()
			break
		}
		reply.Files++
		reply.Bytes += f.Size
		if fault := s.hash(ctx, f.Name); fault != nil {
			fault.Task = known.taskOf(f.Name)
			reply.Faults = append(reply.Faults, *fault)
		}
		if ctx.Err() != nil {
			return nil, api.Unavailable("the archiver is stopping; ask again")
		}
	}
	for name, k := range known.by {
		if there[name] || name <= r.After || reply.NextAfter != "" && name > reply.NextAfter {
			continue
		}
		if n, err := artifact.ParseName(name); err == nil && s.isMissing(ctx, k, n) {
			reply.Faults = append(reply.Faults, operator.FaultyArtifact{Name: name, Fault: operator.FaultMissing, Task: k.String()})
		}
	}
	return reply, nil
}

// hash reads a file, and says what is wrong with it. One that is deleted meanwhile is none of the store's any more.
func (s *Service) hash(ctx context.Context, n artifact.Name) *operator.FaultyArtifact {
	ctx, cancel := context.WithTimeout(ctx, verifyFileWait)
	defer cancel()
	err := s.o.Store.Verify(ctx, n)
	fault := &operator.FaultyArtifact{Name: n.String(), Fault: operator.FaultUnreadable}
	switch {
	case err == nil || errors.Is(err, artifact.ErrNotFound):
		return nil
	case errors.Is(err, artifact.ErrChecksum):
		fault.Fault = operator.FaultDamaged
	}
	fault.Detail = clip(err.Error())
	s.log.ErrorContext(ctx, "a stored file is not what its name says, or cannot be read", "name", n, "error", err)
	return fault
}

// isMissing reports whether a record still names a file that the store does not have.
func (s *Service) isMissing(ctx context.Context, k events.Key, n artifact.Name) bool {
	if _, err := s.o.Store.Stat(ctx, n); !errors.Is(err, artifact.ErrNotFound) {
		return false
	}
	t, err := s.records.Get(ctx, k)
	if err != nil || t.Result == nil {
		return false
	}
	for _, o := range t.Result.Outputs {
		if name, ok := nameOf(o.StoredURL); ok && name == n {
			s.log.ErrorContext(ctx, "a file that a record names is missing in the store", "name", n, "task", k)
			return true
		}
	}
	return false
}
