package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A renewed certificate is served within a minute; a broken one leaves the former in place.
func TestCertificateRenewal(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	if _, err := Serve(cert, key, log); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no files: %v", err)
	}
	serial := func(c *tls.Config) int64 {
		got, err := c.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.Int64()
	}
	synctest.Test(t, func(t *testing.T) {
		writeCertificate(t, dir, 1)
		config, err := Serve(cert, key, log)
		if err != nil {
			t.Fatal(err)
		}
		touched := time.Now()
		step := func(what string, wait time.Duration, want int64) {
			t.Helper()
			// Files have the time of the world outside.
			touched = touched.Add(time.Hour)
			_ = os.Chtimes(cert, touched, touched)
			time.Sleep(wait)
			if got := serial(config); got != want {
				t.Errorf("%s: certificate %d, want %d", what, got, want)
			}
		}
		step("at first", 0, 1)
		writeCertificate(t, dir, 2)
		step("within the minute", 59*time.Second, 1)
		step("after it", time.Second, 2)
		if err := os.WriteFile(cert, []byte("half a certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		step("broken", time.Hour, 2)
		writeCertificate(t, dir, 3)
		step("mended", time.Minute, 3)
		if !strings.Contains(text.String(), "the certificate expires soon") || strings.Contains(text.String(), "has expired") {
			t.Errorf("before its end:\n%s", &text)
		}
		step("expired", 25*time.Hour, 3)
		if n := strings.Count(text.String(), "level=ERROR msg=\"the certificate has expired"); n != 1 {
			t.Errorf("after its end it is told %d times:\n%s", n, &text)
		}
	})
}

// writeCertificate writes cert.pem and key.pem.
func writeCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "server.test"}, DNSNames: []string{"server.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
