package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"reelay/events"
)

// fileScheme marks a file of this machine.
const fileScheme = "file:"

// A localFile is a file of this machine that a request names.
type localFile struct {
	path, name, sum string
	size            int64
}

// localFiles are those of one request.
type localFiles []localFile

// value returns what stands in a request for a flag: a link as it is, and for a file of this machine, which may have the
// scheme file:, the name under which it is handed in. Its error is a usageError.
func (l *localFiles) value(given string) (string, error) {
	path, marked := strings.CutPrefix(given, fileScheme)
	path = strings.TrimPrefix(path, "//")
	if !marked {
		info, err := os.Stat(given)
		if given == "" || err != nil || !info.Mode().IsRegular() {
			return given, nil
		}
	}
	for _, f := range *l {
		if f.path == path {
			return f.name, nil
		}
	}
	f, err := readLocal(path)
	if err != nil {
		return "", err
	}
	*l = append(*l, f)
	return f.name, nil
}

// readLocal returns a file with a name of which the bytes are a part: another file cannot take its place.
func readLocal(path string) (localFile, error) {
	f := localFile{path: path}
	content, size, err := openUpload(path)
	if err != nil {
		return f, err
	}
	defer content.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return f, &usageError{err}
	}
	f.size, f.sum = size, hex.EncodeToString(sum.Sum(nil))
	const stem = 64
	base := inputName(filepath.Base(path))
	ext := filepath.Ext(base)
	base = strings.TrimSuffix(base, ext)
	f.name = base[:min(len(base), stem)] + "-" + f.sum[:16] + ext
	if !events.ValidInputName(f.name) {
		f.name = f.sum[:16]
	}
	return f, nil
}

// flags replaces the files of this machine that flags name.
func (l *localFiles) flags(f *wantFlags) (err error) {
	all := []*string{&f.Image, &f.LastFrame}
	f.Reference = append([]string(nil), f.Reference...)
	for i := range f.Reference {
		all = append(all, &f.Reference[i])
	}
	for _, at := range all {
		if *at, err = l.value(*at); err != nil {
			return err
		}
	}
	return nil
}

// places returns the files of --file by their places in the request.
func (l *localFiles) places(files map[string]string) (map[string]string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	placed := map[string]string{}
	for at, path := range files {
		name, err := l.value(path)
		if err == nil && !events.ValidInputName(name) {
			err = usagef("--file: %s is no file, and no name of one that was handed in", path)
		}
		if err != nil {
			return nil, err
		}
		placed[at] = name
	}
	return placed, nil
}

// input returns an input with file references in place of texts such as "file:frame.png".
func (l *localFiles) input(raw json.RawMessage) (json.RawMessage, error) {
	if !bytes.Contains(raw, []byte(`"`+fileScheme)) {
		return raw, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, &usageError{fmt.Errorf("--input: %w", err)}
	}
	v, err := l.replace(v)
	if err != nil {
		return nil, err
	}
	return events.Marshal(v)
}

func (l *localFiles) replace(v any) (_ any, err error) {
	switch v := v.(type) {
	case string:
		if !strings.HasPrefix(v, fileScheme) {
			return v, nil
		}
		name, err := l.value(v)
		return events.FileReference{Name: name}, err
	case map[string]any:
		for name, member := range v {
			if v[name], err = l.replace(member); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, item := range v {
			if v[i], err = l.replace(item); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// handIn uploads the files, so that the request can name them.
func (l localFiles) handIn(ctx context.Context, e *env, a *api, project string) error {
	for _, f := range l {
		content, _, err := openUpload(f.path)
		if err != nil {
			return err
		}
		t := newTransfer(e, "handing in "+filepath.Base(f.path), f.size)
		r := events.UploadRequest{Name: f.name, Size: f.size, SHA256: f.sum}
		_, err = a.Upload(ctx, project, r, io.TeeReader(content, t))
		t.end()
		_ = content.Close() // it was only read
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stderr, "handed in %s as %s\n", clean(f.path), f.name)
	}
	return nil
}
