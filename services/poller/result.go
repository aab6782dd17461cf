package poller

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/media"
	"reelay/internal/provider"
	"reelay/internal/task"
)

const (
	// maxURLBytes is the longest data: link kept in a record, maxDataBytes bounds all of them. The bytes of the others go
	// to the object store. Other links are bounded by the drivers.
	maxURLBytes  = 4 << 10
	maxDataBytes = 64 << 10
)

// observed makes a trigger of a snapshot of a task's request with that id; content that is too large for a record goes
// to the object store first.
func (s *Service) observed(ctx context.Context, c cause, t events.Task, id string, snap provider.Snapshot,
) (task.PollResult, error) {
	tr := task.PollResult{Meta: c.meta(), ID: id, Snapshot: snap}
	tr.Snapshot.Outputs = slices.Clone(snap.Outputs)
	s.dropEchoes(ctx, t, &tr.Snapshot)
	inline := 0
	for i := range tr.Snapshot.Outputs {
		o := &tr.Snapshot.Outputs[i]
		if !media.IsDataURL(o.URL) {
			continue
		}
		if inline += len(o.URL); len(o.URL) <= maxURLBytes && inline <= maxDataBytes {
			continue
		}
		inline -= len(o.URL)
		if err := s.offload(ctx, o); err != nil {
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

// dropEchoes takes out the bare links that only repeat one of the input: many models answer with what they were asked.
func (s *Service) dropEchoes(ctx context.Context, t events.Task, snap *provider.Snapshot) {
	bare := func(o events.Output) bool {
		return o.FileName == "" && o.Size == 0 && (o.ContentType == "" || media.IsDataURL(o.URL))
	}
	if snap.State != provider.Succeeded || !slices.ContainsFunc(snap.Outputs, bare) {
		return
	}
	input := t.Input
	if t.InputRef != "" {
		var err error
		if input, err = s.o.Bus.GetObject(ctx, t.InputRef); err != nil {
			s.log.Warn("input could not be read; links that repeat it are shown as outputs", "task", t.Key(), "error", err)
			return
		}
	}
	asked := linksOf(input)
	snap.Outputs = slices.DeleteFunc(snap.Outputs, func(o events.Output) bool { return bare(o) && asked[o.URL] })
	if len(snap.Outputs) == 0 {
		snap.Notes = append(slices.Clone(snap.Notes), "the result names no file but those of the input; it is in result.raw")
	}
}

// linksOf returns the texts of an input that may be links, wherever they stand.
func linksOf(input []byte) map[string]bool {
	links := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(input))
	for {
		token, err := d.Token()
		if err != nil {
			return links
		}
		if link, ok := token.(string); ok && (media.IsDataURL(link) || strings.Contains(link, "://")) {
			links[strings.TrimSpace(link)] = true
		}
	}
}

// offload moves the content of a data: link to the object store.
func (s *Service) offload(ctx context.Context, o *events.Output) error {
	content := dataBytes(o.URL)
	ref, err := s.putObject(ctx, "output-", content)
	if err != nil {
		return err
	}
	o.URL, o.Stored, o.Size = "", ref, int64(len(content))
	return nil
}

// dataBytes returns the content of a data: link; the link as it is if it cannot be read.
func dataBytes(link string) []byte {
	_, content, err := media.DecodeDataURL(link)
	if err != nil {
		return []byte(link)
	}
	return content
}

// putObject stores a value under its digest and returns its name.
func (s *Service) putObject(ctx context.Context, prefix string, value []byte) (string, error) {
	sum := sha256.Sum256(value)
	ref := prefix + hex.EncodeToString(sum[:])
	return ref, s.o.Bus.PutObject(ctx, ref, value)
}
