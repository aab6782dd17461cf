package artifact_test

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/internal/artifact"
	"reelay/internal/artifact/cloud"
)

// kinds start an empty store of each kind, and return the URL by which another process opens it.
var kinds = map[string]func(t *testing.T) (string, artifact.Driver){
	"file": startDir, "nats": startObjects, "s3": startS3, "azure": startAzure,
}

// bucket is the name of a bucket in any store.
const bucket = "kept"

func startDir(t *testing.T) (string, artifact.Driver) {
	root := t.TempDir()
	d, err := artifact.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	return "file://" + root, d
}

// startObjects returns the URL of the broker, with a bar behind it.
func startObjects(t *testing.T) (string, artifact.Driver) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	d, err := artifact.OpenObjects(t.Context(), connect(t, s.ClientURL()), artifact.Bucket{Name: bucket, MaxBytes: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return s.ClientURL() + "|", d
}

func connect(t *testing.T, broker string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// startS3 runs versitygw, a server of S3 over a directory, each directory of which is a bucket.
func startS3(t *testing.T) (string, artifact.Driver) {
	const key = "reelay-test"
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	address := startServer(t, "versitygw", func(port string) []string {
		return []string{"--port", "127.0.0.1:" + port, "--access", key, "--secret", key, "--quiet", "posix", root}
	})
	t.Setenv("AWS_ACCESS_KEY_ID", key)
	query := "?region=us-east-1&use_path_style=true&endpoint=http://" + address
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	wantNoStore(t, "s3://"+bucket+query, "the bucket kept cannot be listed with the credentials of the environment: "+
		"the store answers HTTP 403, SignatureDoesNotMatch")
	t.Setenv("AWS_SECRET_ACCESS_KEY", key)
	wantNoStore(t, "s3://other"+query, "there is no bucket other: create it first")
	return openCloud(t, "s3://"+bucket+"/below/it"+query)
}

// startAzure runs azurite, whose account and key are the same everywhere and no secret.
func startAzure(t *testing.T) (string, artifact.Driver) {
	const account = "devstoreaccount1"
	const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	address := startServer(t, "azurite-blob", func(port string) []string {
		return []string{"--blobPort", port, "--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"}
	})
	t.Setenv("AZURE_STORAGE_ACCOUNT", account)
	t.Setenv("AZURE_STORAGE_KEY", key)
	client, err := azblob.NewClientFromConnectionString("DefaultEndpointsProtocol=http;AccountName="+account+
		";AccountKey="+key+";BlobEndpoint=http://"+address+"/"+account+";", nil)
	if err == nil {
		_, err = client.CreateContainer(t.Context(), bucket, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return openCloud(t, "azblob://"+bucket+"/below/it?localemu=true&protocol=http&domain="+address)
}

func openCloud(t *testing.T, raw string) (string, artifact.Driver) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	d, err := cloud.Open(t.Context(), *u)
	if err != nil {
		t.Fatal(err)
	}
	return raw, d
}

// startServer runs a program that listens on a free port, and returns its address. The test is skipped where it is not
// installed.
func startServer(t *testing.T, program string, arguments func(port string) []string) (address string) {
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

// wantNoStore: a store that refuses is told at once, in one line and without a key.
func wantNoStore(t *testing.T, raw, want string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.Open(t.Context(), *u); err == nil || err.Error() != "artifact store: "+want {
		t.Errorf("%v, want %s", err, want)
	}
}
