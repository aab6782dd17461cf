package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/client"
	"reelay/events/operator"
)

// quotasCmd shows and sets what projects may do.
type quotasCmd struct {
	Ls  quotasLsCmd  `cmd:"" default:"withargs" help:"Show what projects may do (the default)."`
	Set quotasSetCmd `cmd:"" help:"Set what a project, or every one without a quota of its own, may do."`
}

type quotasLsCmd struct {
	connection `embed:""`

	Project string `arg:"" optional:"" help:"One project only (default: all that have a quota, and _all for the others)."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Run shows them.
func (c *quotasLsCmd) Run(ctx context.Context, e *env) error {
	if err := checkProject(c.Project); err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r, err := a.Quotas(ctx, c.Project)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	return printQuotas(e, r.Quotas)
}

func printQuotas(e *env, all []operator.ProjectQuota) error {
	t := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PROJECT\tWAITING\tREQUESTS/S\tBYTES/S\tCALLS\tWAITS\tREJECTIONS\tBY")
	for _, p := range all {
		cells := []string{clean(p.Project)}
		for _, v := range p.Quota.Values() {
			cells = append(cells, strconv.FormatInt(*v.N, 10))
		}
		fmt.Fprintln(t, strings.Join(append(cells, clean(p.Set.By)), "\t"))
	}
	return t.Flush()
}

type quotasSetCmd struct {
	connection `embed:""`

	Project    string `arg:"" help:"The project; _all for every one without a quota of its own."`
	Reset      bool   `help:"First back to the default."`
	Waiting    *int64 `help:"Most tasks that wait to be sent." placeholder:"N"`
	Requests   *int64 `help:"Most requests a second in the long run; a minute's worth may come at once." placeholder:"N"`
	Bytes      *int64 `help:"Most bytes of requests a second, as --requests." placeholder:"N"`
	Calls      *int64 `help:"Most calls of the API under way." placeholder:"N"`
	Waits      *int64 `help:"Most calls that wait for something." placeholder:"N"`
	Rejections *int64 `help:"How many of its rejected events are kept." placeholder:"N"`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// Run changes what the flags name and leaves the rest as it is; 0 is the default. It counts at once.
func (c *quotasSetCmd) Run(ctx context.Context, e *env) error {
	if !events.ValidToken(c.Project) {
		return usagef("%q is no project, and not %s", c.Project, bucket.AllProjects)
	}
	given := []*int64{c.Waiting, c.Requests, c.Bytes, c.Calls, c.Waits, c.Rejections}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	now, err := a.Quotas(ctx, c.Project)
	if err != nil {
		return err
	}
	if len(now.Quotas) != 1 {
		now.Quotas = []operator.ProjectQuota{{}}
	}
	quota := now.Quotas[0].Set
	if c.Reset {
		quota = bucket.Quota{}
	}
	for i, v := range quota.Values() {
		if given[i] != nil {
			*v.N = *given[i]
		}
	}
	if err := quota.Validate(); err != nil {
		return &usageError{err}
	}
	quota.By = person()
	set, err := a.SetQuota(ctx, operator.QuotaRequest{Project: c.Project, Quota: quota, Revision: &now.Quotas[0].Revision})
	if client.HasCode(err, events.CodeConflict) {
		return fmt.Errorf("%s: somebody else has just changed it; read it and try again", c.Project)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, set)
	}
	return printQuotas(e, []operator.ProjectQuota{set})
}
