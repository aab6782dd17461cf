package webhook

import (
	"errors"

	"reelay/internal/certificate"
	"reelay/internal/proc"
)

// A Setup is what a process gives its webhook service.
type Setup struct {
	// Options need no Registerer and no TLS. Their Listener is closed if the start fails.
	Options
	// TLSCert and TLSKey are PEM files; empty for plain HTTP.
	TLSCert, TLSKey string
}

// Start runs a webhook service as a part of p under a name, which is the service's but for a further one in the same
// process.
func Start(p *proc.Process, part string, s Setup) error {
	svc, err := s.open(p, part)
	if err != nil {
		return errors.Join(err, s.Listener.Close())
	}
	p.Go(part, svc.Run, svc.Ready)
	return nil
}

func (s Setup) open(p *proc.Process, part string) (svc *Service, err error) {
	o := s.Options
	o.Registerer = p.Registerer(part)
	if s.TLSCert != "" {
		if o.TLS, err = certificate.Serve(s.TLSCert, s.TLSKey, o.Log); err != nil {
			return nil, err
		}
	}
	return New(o)
}
