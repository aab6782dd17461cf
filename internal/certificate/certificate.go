// Package certificate serves TLS with a certificate in files, which may be renewed at any time.
package certificate

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheck is how often the files of a certificate are checked.
const certCheck = time.Minute

// Serve returns a configuration for a server, TLS 1.2 or newer, whose certificate is read from PEM files, and again within a minute of
// a renewal. A renewed pair that cannot be read is logged, and the former one stays. It fails if the first one cannot
// be read, naming the file.
func Serve(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	p := &pair{certFile: certFile, keyFile: keyFile, log: log}
	if err := p.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certificate}, nil
}

// A pair is a certificate and its key in files.
type pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu       sync.Mutex
	current  *tls.Certificate
	modified time.Time
	checked  time.Time
	told     time.Time
}

const (
	// expiresSoon is how long before its end a certificate is told of, tellAgain how often.
	expiresSoon = 7 * 24 * time.Hour
	tellAgain   = 24 * time.Hour
)

// tell says that the certificate ends soon or has ended: clients refuse it then, and stay away in silence.
func (p *pair) tell(now time.Time) {
	end := p.current.Leaf.NotAfter
	if end.Sub(now) > expiresSoon || now.Sub(p.told) < tellAgain {
		return
	}
	p.told = now
	if now.After(end) {
		p.log.Error("the certificate has expired, and clients refuse it", "file", p.certFile, "expired", end)
		return
	}
	p.log.Warn("the certificate expires soon", "file", p.certFile, "expires", end)
}

func (p *pair) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.checked) >= certCheck {
		if err := p.load(); err != nil {
			p.log.Error("certificate could not be renewed", "error", err)
		}
	}
	return p.current, nil
}

// load reads the files if the certificate has changed. A pair that does not fit, because only one of the two is written
// yet, is refused and read again later.
func (p *pair) load() error {
	p.checked = time.Now()
	defer func() {
		if p.current != nil {
			p.tell(p.checked)
		}
	}()
	info, err := os.Stat(p.certFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if p.current != nil && info.ModTime().Equal(p.modified) {
		return nil
	}
	loaded, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	p.current, p.modified = &loaded, info.ModTime()
	return nil
}
