// Package stores runs servers of object stores for tests. A test is skipped where one is not installed.
package stores

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Bucket is the name of a bucket in any store, and Key that of the user and of the key of S3.
const (
	Bucket = "kept"
	Key    = "reelay-test"
)

// S3 runs versitygw, a server of S3 over a directory each directory of which is a bucket, with one bucket. It returns the
// parameters of URLs of its buckets, and sets the variables with its credentials.
func S3(t testing.TB) (parameters string) {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, Bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	address := Start(t, "versitygw", func(port string) []string {
		return []string{"--port", "127.0.0.1:" + port, "--access", Key, "--secret", Key, "--quiet", "posix", root}
	})
	t.Setenv("AWS_ACCESS_KEY_ID", Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", Key)
	return "?region=us-east-1&use_path_style=true&endpoint=http://" + address
}

// Start runs a program that listens on a free port, and returns its address.
func Start(t testing.TB, program string, arguments func(port string) []string) (address string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip(program + " is not installed; .ci/run says which version is")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	run := exec.Command(path, arguments(address[strings.LastIndex(address, ":")+1:])...)
	run.Stdout, run.Stderr = &output, &output
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() }) // it is stopped so
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
	}
	t.Fatalf("%s does not listen: %s", program, output.String())
	return ""
}
