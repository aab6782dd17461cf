package poller

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// maxURLBytes is the longest link kept in a record. A longer one is a data: URI: its bytes go to the object store.
const maxURLBytes = 4 << 10

// observed makes a trigger of a snapshot of the request with that id; content that is too large for a record goes to
// the object store first.
func (s *Service) observed(ctx context.Context, c cause, id string, snap provider.Snapshot) (task.PollResult, error) {
	tr := task.PollResult{Meta: c.meta(), ID: id, Snapshot: snap}
	tr.Snapshot.Outputs = slices.Clone(snap.Outputs)
	for i := range tr.Snapshot.Outputs {
		if err := s.offload(ctx, &tr.Snapshot.Outputs[i]); err != nil {
			return tr, err
		}
	}
	if len(snap.Raw) > events.MaxInlineBytes {
		ref, err := s.putObject(ctx, "result-", snap.Raw)
		if err != nil {
			return tr, err
		}
		tr.RawRef = ref
	}
	return tr, nil
}

// offload moves the content of a long data: URI to the object store.
func (s *Service) offload(ctx context.Context, o *events.Output) error {
	if len(o.URL) <= maxURLBytes {
		return nil
	}
	content := []byte(o.URL)
	if head, data, ok := strings.Cut(o.URL, ","); ok && strings.HasSuffix(head, ";base64") {
		if raw, err := base64.StdEncoding.DecodeString(data); err == nil {
			content = raw
		}
	} else if text, err := url.PathUnescape(data); ok && err == nil {
		content = []byte(text)
	}
	ref, err := s.putObject(ctx, "output-", content)
	if err != nil {
		return err
	}
	o.URL, o.Stored, o.Size = "", ref, int64(len(content))
	return nil
}

// putObject stores a value under its digest and returns its name.
func (s *Service) putObject(ctx context.Context, prefix string, value []byte) (string, error) {
	sum := sha256.Sum256(value)
	ref := prefix + hex.EncodeToString(sum[:])
	return ref, s.o.Bus.PutObject(ctx, ref, value)
}
