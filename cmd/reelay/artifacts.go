package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"reelay/events"
	"reelay/events/operator"
)

// artifactsCmd is about the store of outputs.
type artifactsCmd struct {
	Ls     artifactsLsCmd     `cmd:"" help:"List the files of the store, by project and SHA-256."`
	Verify artifactsVerifyCmd `cmd:"" help:"Read and hash every file, and say which differ or are missing."`
	GC     artifactsGCCmd     `cmd:"" name:"gc" help:"Delete the files that no task names any more, once the retention of their project is over."`
}

// A storePart is what a command does its work on.
type storePart struct {
	connection `embed:""`

	Project string `help:"Only files of this project; all if not set."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// each asks for page after page; ask returns what the next is behind.
func (p storePart) each(e *env, ask func(a *api, r operator.ArtifactsRequest) (after string, err error)) error {
	if err := checkProject(p.Project); err != nil {
		return err
	}
	a, closeConn, err := p.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	for r := (operator.ArtifactsRequest{Project: p.Project}); ; {
		if r.After, err = ask(a, r); err != nil || r.After == "" {
			return err
		}
	}
}

// artifactsLsCmd lists files.
type artifactsLsCmd struct {
	storePart `embed:""`
}

// Run lists them, and says how many and how large they are.
func (c *artifactsLsCmd) Run(ctx context.Context, e *env) error {
	all := operator.ArtifactsReply{Files: []operator.ArtifactFile{}}
	bytes := int64(0)
	if err := c.each(e, func(a *api, r operator.ArtifactsRequest) (string, error) {
		page, err := a.Artifacts(ctx, r)
		all.Files = append(all.Files, page.Files...)
		for _, f := range page.Files {
			bytes += f.Size
		}
		return page.NextAfter, err
	}); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	if err := printFiles(e, all.Files); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%d files, %d bytes\n", len(all.Files), bytes)
	return nil
}

func printFiles(e *env, files []operator.ArtifactFile) error {
	t := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tBYTES\tSTORED\tTASK")
	for _, f := range files {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", clean(f.Name), f.Size, f.StoredAt.Local().Format(time.DateTime), orDash(clean(f.Task)))
	}
	return t.Flush()
}

// artifactsVerifyCmd checks files.
type artifactsVerifyCmd struct {
	storePart `embed:""`
}

// Run checks them. It fails if something is wrong with one.
func (c *artifactsVerifyCmd) Run(ctx context.Context, e *env) error {
	all := operator.VerifyReply{Faults: []operator.FaultyArtifact{}}
	if err := c.each(e, func(a *api, r operator.ArtifactsRequest) (string, error) {
		page, err := a.VerifyArtifacts(ctx, r)
		all.Files, all.Bytes = all.Files+page.Files, all.Bytes+page.Bytes
		all.Faults = append(all.Faults, page.Faults...)
		return page.NextAfter, err
	}); err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(e.stdout, all); err != nil {
			return err
		}
	} else {
		for _, f := range all.Faults {
			fmt.Fprintf(e.stdout, "%s  %s  task %s  %s\n", f.Fault, clean(f.Name), orDash(clean(f.Task)), clean(f.Detail))
		}
		fmt.Fprintf(e.stdout, "%d files with %d bytes were hashed\n", all.Files, all.Bytes)
	}
	if n := len(all.Faults); n > 0 {
		return fmt.Errorf("something is wrong with %d of them", n)
	}
	return nil
}

// artifactsGCCmd collects files.
type artifactsGCCmd struct {
	storePart `embed:""`

	OlderThan time.Duration `help:"Collect files of this age, 24h or more, also of projects whose files are kept for ever." placeholder:"TIME"`
	DryRun    bool          `help:"Only say what would be deleted."`
}

// Run deletes them.
func (c *artifactsGCCmd) Run(ctx context.Context, e *env) error {
	if c.OlderThan != 0 && c.OlderThan < operator.MinArtifactAge {
		return usagef("--older-than: %v is under %v", c.OlderThan, operator.MinArtifactAge)
	}
	all := operator.GCReply{Deleted: []operator.ArtifactFile{}}
	if err := c.each(e, func(a *api, r operator.ArtifactsRequest) (string, error) {
		page, err := a.CollectArtifacts(ctx, operator.GCRequest{
			ArtifactsRequest: r, OlderThan: events.Duration(c.OlderThan), DryRun: c.DryRun,
		})
		all.Deleted = append(all.Deleted, page.Deleted...)
		all.Expired, all.Unnamed = all.Expired+page.Expired, all.Unnamed+page.Unnamed
		return page.NextAfter, err
	}); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	if len(all.Deleted) > 0 {
		if err := printFiles(e, all.Deleted); err != nil {
			return err
		}
	}
	bytes := int64(0)
	for _, f := range all.Deleted {
		bytes += f.Size
	}
	would := ""
	if c.DryRun {
		would = " would be"
	}
	fmt.Fprintf(e.stdout, "%d files with %d bytes%s deleted; the retention of %d outputs is over; %d files that no task names stay\n",
		len(all.Deleted), bytes, would, all.Expired, all.Unnamed)
	return nil
}
