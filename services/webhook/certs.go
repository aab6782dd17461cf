package webhook

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

// TLS returns a configuration, TLS 1.2 or newer, whose certificate is read from PEM files, and again within a minute of
// a renewal. A renewed pair that cannot be read is logged, and the former one stays. It fails if the first one cannot
// be read, naming the file.
func TLS(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
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
