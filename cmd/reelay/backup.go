package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"reelay/internal/backup"
	"reelay/internal/natsd"
)

// backupCmd copies the streams.
type backupCmd struct {
	connection `embed:""`

	Dir string `arg:"" help:"Directory of the backup; it is made, and has to be empty."`
}

// Run copies every stream into the directory.
func (c *backupCmd) Run(ctx context.Context, e *env) error {
	nc, err := c.NATS.ConnectOnce("reelay backup", e.log)
	if err != nil {
		return err
	}
	defer nc.Close()
	b, err := backup.New(nc.Conn, nc.APIPrefix)
	if err != nil {
		return err
	}
	content, err := b.Take(ctx, c.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%d streams with %d messages are in %s\n", len(content.Streams), messages(content), clean(c.Dir))
	return nil
}

func messages(c backup.Content) (n uint64) {
	for _, s := range c.Streams {
		n += s.Messages
	}
	return n
}

// restoreCmd puts a backup back.
type restoreCmd struct {
	connection `embed:""`

	Dir     string `arg:"" optional:"" help:"Directory of the backup. Without one the store stays as it is, and is told that it was put back from a copy."`
	Into    string `help:"Directory of an embedded broker that does not run, such as .reelay/live/nats, in place of a NATS server." placeholder:"DIR"`
	Replace bool   `help:"Remove the streams that are there first."`
}

// Run puts the streams back, or marks those that were.
func (c *restoreCmd) Run(ctx context.Context, e *env) error {
	b, closeBroker, err := c.broker(e)
	if err != nil {
		return err
	}
	defer closeBroker()
	if c.Dir == "" {
		if c.Replace {
			return usagef("--replace needs the directory of a backup")
		}
		if err := b.Mark(); err != nil {
			return advised(err)
		}
		fmt.Fprintln(e.stdout, "the store is marked as put back from a copy of which nobody knows the time")
	} else {
		content, err := b.Restore(ctx, c.Dir, c.Replace)
		if err != nil {
			return advised(err)
		}
		fmt.Fprintf(e.stdout, "%d streams with %d messages of %s are restored\n", len(content.Streams), messages(content),
			content.Taken.Format("2006-01-02 15:04:05 MST"))
	}
	fmt.Fprintln(e.stdout, "start the services: each task that waits is first searched for in the journal and in the provider's list,\n"+
		"and a person is asked (reelay resolve) where neither can tell whether it was sent")
	return nil
}

// broker returns the broker that is restored to.
func (c *restoreCmd) broker(e *env) (*backup.Broker, func(), error) {
	if c.Into == "" {
		nc, err := c.NATS.ConnectOnce("reelay restore", e.log)
		if err != nil {
			return nil, nil, err
		}
		b, err := backup.New(nc.Conn, nc.APIPrefix)
		return b, nc.Close, err
	}
	if c.NATS.Given() {
		return nil, nil, usagef("--into is for a broker that does not run, and --server for one that does: give one of them")
	}
	srv, err := natsd.Start(natsd.Options{StoreDir: c.Into, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	nc, err := srv.Connect("reelay restore")
	if err != nil {
		srv.Stop()
		return nil, nil, err
	}
	b, err := backup.New(nc, "")
	return b, func() { nc.Close(); srv.Stop() }, err
}

// advised adds to an error what a person can do.
func advised(err error) error {
	if errors.Is(err, backup.ErrNotEmpty) {
		return fmt.Errorf("%w; to replace all that is there: --replace", err)
	}
	return err
}
