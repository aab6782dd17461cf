package archiver

import (
	"errors"

	"reelay/internal/proc"
	"reelay/internal/version"
)

// Start runs an archiver as a part of p under a name, which is the service's but for a further one in the same process.
// It fills in the Registerer, the Tracer and the Version of the options, and closes their Listener if it fails.
func Start(p *proc.Process, part string, o Options) error {
	o.Registerer, o.Tracer, o.Version = p.Registerer(part), p.Tracer(part), version.Get().Version
	svc, err := New(o)
	if err != nil {
		return errors.Join(err, o.Listener.Close())
	}
	p.Go(part, svc.Run, svc.Ready)
	return nil
}
