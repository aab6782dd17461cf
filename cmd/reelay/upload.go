package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"reelay/events"
)

// uploadCmd hands in a file that requests name.
type uploadCmd struct {
	connection `embed:""`

	File    string `arg:"" help:"File to hand in."`
	Name    string `help:"What requests call it; the file's own name if not set." placeholder:"NAME"`
	Project string `help:"Project whose requests may name it." env:"REELAY_PROJECT" default:"default"`
	JSON    bool   `name:"json" help:"Print what is known of the file as JSON."`
}

// Run hands the file in and prints its name.
func (c *uploadCmd) Run(ctx context.Context, e *env) error {
	if !events.ValidToken(c.Project) {
		return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	name := c.Name
	if name == "" {
		name = inputName(filepath.Base(c.File))
	}
	file, size, err := openUpload(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	t := newTransfer(e, "handing in "+name, size)
	stored, err := a.Upload(ctx, c.Project, events.UploadRequest{Name: name, Size: size}, io.TeeReader(file, t))
	t.end()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, stored)
	}
	fmt.Fprintln(e.stdout, stored.Name)
	return nil
}

// openUpload opens a file that can be handed in. Its error is a usageError.
func openUpload(path string) (io.ReadCloser, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, &usageError{err}
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a file", path)
	case info.Size() == 0:
		err = fmt.Errorf("%s is empty", path)
	case info.Size() > events.MaxInputBytes:
		err = fmt.Errorf("%s has %d bytes, over the limit of %d", path, info.Size(), events.MaxInputBytes)
	default:
		return file, info.Size(), nil
	}
	_ = file.Close()
	return nil, 0, &usageError{err}
}

// inputName makes a name that a file can be handed in under of one that it has on disk.
func inputName(name string) string {
	name = strings.TrimLeft(strings.Map(func(r rune) rune {
		if events.ValidInputName("x" + string(r)) {
			return r
		}
		return '_'
	}, name), ".-")
	const longest = 128
	if len(name) > longest { // its ending is what tells people its type
		name = name[len(name)-longest:]
	}
	return strings.TrimLeft(name, ".-")
}
