package media

import (
	"fmt"
	"runtime"

	"reelay/internal/ffmpeg"
	"reelay/internal/proc"
)

// Start runs a media service as a part of p under a name, which is the service's but for a further one in the same
// process. It fills in the Registerer, the Tracer and the Slots of the options, and where they have none Find, which takes ffmpeg
// for files of at most maxBytes.
func Start(p *proc.Process, part string, maxBytes int64, o Options) error {
	dir, remove, err := scratch(o.Dir)
	if err != nil {
		return fmt.Errorf("directory of the work: %w", err)
	}
	p.Defer("directory of the work", remove)
	o.Dir = dir
	// Half the machine, since ffmpeg is the least urgent of what may run here.
	threads := max(1, runtime.NumCPU()/2)
	o.Registerer, o.Tracer, o.Slots = p.Registerer(part), p.Tracer(part), max(1, threads/2)
	if o.Find == nil {
		o.Find = func() (Worker, error) { return ffmpeg.Find(maxBytes, max(1, threads/o.Slots)) }
	}
	svc := New(o)
	p.Go(part, svc.Run, svc.Ready)
	return nil
}
