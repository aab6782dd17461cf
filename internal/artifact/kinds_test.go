package artifact_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/internal/artifact"
	"reelay/internal/artifact/cloud"
	"reelay/internal/test/stores"
)

// kinds start an empty store of each kind, and return the URL by which another process opens it.
var kinds = map[string]func(t *testing.T) (string, artifact.Driver){
	"file": startDir, "nats": startObjects, "s3": startS3, "azure": startAzure,
}

// bucket is the name of a bucket in any store.
const bucket = stores.Bucket

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

// startS3 returns the URL of a directory of a bucket.
func startS3(t *testing.T) (string, artifact.Driver) {
	query := stores.S3(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	wantNoStore(t, "s3://"+stores.Bucket+query, "the bucket kept cannot be listed with the credentials of the environment: "+
		"the store answers HTTP 403, SignatureDoesNotMatch")
	t.Setenv("AWS_SECRET_ACCESS_KEY", stores.Key)
	wantNoStore(t, "s3://other"+query, "there is no bucket other: create it first")
	return openCloud(t, "s3://"+stores.Bucket+"/below/it"+query)
}

// startAzure runs azurite, whose account and key are the same everywhere and no secret.
func startAzure(t *testing.T) (string, artifact.Driver) {
	const account = "devstoreaccount1"
	const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	address := stores.Start(t, "azurite-blob", func(port string) []string {
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
