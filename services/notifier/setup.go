package notifier

import (
	"fmt"

	"reelay/internal/proc"
	"reelay/internal/version"
)

// Start runs a notifier as a part of p under a name, which is the service's but for a further one in the same process.
// It fills in the Registerer and the Version of the options. It fails if the file of endpoints cannot be read.
func Start(p *proc.Process, part string, o Options) error {
	o.Registerer, o.Version = p.Registerer(part), version.Get().Version
	svc, err := New(o)
	if err != nil {
		return fmt.Errorf("file of webhooks (REELAY_NOTIFY_FILE): %w", err)
	}
	p.Go(part, svc.Run, svc.Ready)
	return nil
}
