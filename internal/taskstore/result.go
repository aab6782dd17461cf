package taskstore

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
)

const (
	// maxURLBytes is the longest data: link kept in a record, maxDataBytes bounds all of them. The bytes of the others go
	// to the object store. Other links are bounded by the drivers.
	maxURLBytes  = 4 << 10
	maxDataBytes = 64 << 10
)

// Fit makes a snapshot of a task such that a record can hold it: content that is too large for one goes to the object
// store first. It returns the name of the object with the raw result, if that has gone there. Links that only repeat one
// of the input are taken out. The snapshot given is not changed.
func (s *Store) Fit(ctx context.Context, t events.Task, snap provider.Snapshot) (fit provider.Snapshot, rawRef string,
	err error,
) {
	snap.Outputs = slices.Clone(snap.Outputs)
	s.dropEchoes(ctx, t, &snap)
	inline := 0
	for i := range snap.Outputs {
		o := &snap.Outputs[i]
		if !media.IsDataURL(o.URL) {
			continue
		}
		if inline += len(o.URL); len(o.URL) <= maxURLBytes && inline <= maxDataBytes {
			continue
		}
		inline -= len(o.URL)
		if err := s.offload(ctx, o); err != nil {
			return snap, "", err
		}
	}
	if len(snap.Raw) > events.MaxInlineBytes {
		rawRef, err = s.putObject(ctx, "result-", snap.Raw)
	}
	return snap, rawRef, err
}

// dropEchoes takes out the bare links that only repeat one of the input: many models answer with what they were asked.
func (s *Store) dropEchoes(ctx context.Context, t events.Task, snap *provider.Snapshot) {
	bare := func(o events.Output) bool {
		return o.FileName == "" && o.Size == 0 && (o.ContentType == "" || media.IsDataURL(o.URL))
	}
	if snap.State != provider.Succeeded || !slices.ContainsFunc(snap.Outputs, bare) {
		return
	}
	input := t.Input
	if t.InputRef != "" {
		var err error
		if input, err = s.bus.GetObject(ctx, t.InputRef); err != nil {
			s.log.WarnContext(ctx, "input could not be read; links that repeat it are shown as outputs", "task", t.Key(), "error", err)
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
func (s *Store) offload(ctx context.Context, o *events.Output) error {
	content := dataBytes(o.URL)
	ref, err := s.putObject(ctx, "output-", content)
	if err != nil {
		return err
	}
	o.URL, o.Object, o.Size = "", ref, int64(len(content))
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
func (s *Store) putObject(ctx context.Context, prefix string, value []byte) (string, error) {
	sum := sha256.Sum256(value)
	ref := prefix + hex.EncodeToString(sum[:])
	return ref, s.bus.PutObject(ctx, ref, value)
}

// Input reads the exact bytes of a task's input.
func (s *Store) Input(ctx context.Context, t events.Task) (json.RawMessage, error) {
	if t.InputRef == "" {
		return t.Input, nil
	}
	return s.bus.GetObject(ctx, t.InputRef)
}

// KeepInput returns an input as its record has it: itself, or the name of the object that holds it. That is named by its
// exact bytes: what is sent to the provider is what was given, white space and all.
func (s *Store) KeepInput(ctx context.Context, input json.RawMessage) (json.RawMessage, string, error) {
	if len(input) <= events.MaxInlineBytes {
		return input, "", nil
	}
	name, err := s.putObject(ctx, "input-", input)
	return nil, name, err
}
