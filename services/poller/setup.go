package poller

import "reelay/internal/proc"

// Start runs a poller as a part of p under a name, which is the service's but for a further one in the same process. It
// fills in the Registerer and the Tracer of the options.
func Start(p *proc.Process, part string, o Options) error {
	o.Registerer, o.Tracer = p.Registerer(part), p.Tracer(part)
	svc, err := New(o)
	if err != nil {
		return err
	}
	p.Go(part, svc.Run, svc.Ready)
	return nil
}
