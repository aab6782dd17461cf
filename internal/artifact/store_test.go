package artifact_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/internal/artifact"
	"reelay/internal/artifact/all"
	"reelay/internal/artifact/cloud"
)

// putBytes is the size of a file that takes some parts of any store. putTo names the store of a process that is killed.
const (
	putBytes = 12 << 20
	putTo    = "REELAY_TEST_PUT"
)

func nameOf(content []byte) artifact.Name {
	sum := sha256.Sum256(content)
	return artifact.Name{Project: "demo", SHA256: hex.EncodeToString(sum[:]), Ext: ".mp4"}
}

// TestStores: every kind of store keeps the promises of the package.
func TestStores(t *testing.T) {
	for kind, start := range kinds {
		t.Run(kind, func(t *testing.T) {
			url, d := start(t)
			t.Run("promises", func(t *testing.T) { testPromises(t, d) })
			t.Run("spooled", func(t *testing.T) { testSpooled(t, d) })
			t.Run("cut off", func(t *testing.T) { testCutOff(t, d) })
			t.Run("killed", func(t *testing.T) { testKilled(t, url, d) })
			t.Run("links", func(t *testing.T) { testLinks(t, d) })
			if strings.Contains(url, "/below/it") {
				t.Run("inputs", func(t *testing.T) { testInputs(t, url, d) })
				t.Run("adopted", func(t *testing.T) { testAdopted(t, d) })
			}
		})
	}
}

// testPromises begins and ends with an empty store.
func testPromises(t *testing.T, d artifact.Driver) {
	content := bytes.Repeat([]byte("a kite over dunes\n"), 100_000) // some messages of NATS
	n, size := nameOf(content), int64(len(content))
	s, ctx := artifact.New("kind://x/", d), t.Context()
	if _, err := s.Stat(ctx, n); !errors.Is(err, artifact.ErrNotFound) {
		t.Errorf("before the put: %v", err)
	}
	for what, broken := range map[string]io.Reader{
		"other bytes": bytes.NewReader(append(bytes.Clone(content[1:]), 'x')), "half": bytes.NewReader(content[:size/2]),
		"more":                  io.MultiReader(bytes.NewReader(content), strings.NewReader("x")),
		"that break off":        io.MultiReader(bytes.NewReader(content[:size/2]), iotest.ErrReader(errors.New("broken off"))),
		"that end early":        io.MultiReader(bytes.NewReader(content[:size/2]), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"that break at the end": io.MultiReader(bytes.NewReader(content), iotest.ErrReader(errors.New("broken off"))),
	} {
		if err := s.Put(ctx, n, size, broken); err == nil {
			t.Errorf("put of %s: no error", what)
		}
		if _, err := s.Stat(ctx, n); !errors.Is(err, artifact.ErrNotFound) {
			t.Errorf("after a put of %s: %v", what, err)
		}
	}
	for range 2 { // again is no error
		if err := s.Put(ctx, n, size, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Put(ctx, n.String(), strings.NewReader("other")); !errors.Is(err, artifact.ErrExists) {
		t.Errorf("overwritten: %v", err)
	}
	for _, offset := range []int64{0, 1, 700_000, size - 1, size, size + 1} {
		r, err := s.Open(ctx, n, offset)
		if err != nil {
			t.Errorf("from %d: %v", offset, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content[min(offset, size):]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	if f, err := s.Stat(ctx, n); err != nil || f.Size != size || time.Since(f.StoredAt).Abs() > time.Minute {
		t.Errorf("stat: %+v, %v", f, err)
	}
	if err := s.Verify(ctx, n); err != nil {
		t.Errorf("verify: %v", err)
	}
	wantListed(t, s, "demo", n)
	wantListed(t, s, "", n)
	wantListed(t, s, "dem")
	for range 2 {
		if err := s.Delete(ctx, n); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if _, err := s.Open(ctx, n, 0); !errors.Is(err, artifact.ErrNotFound) {
		t.Errorf("after the delete: %v", err)
	}
	wantListed(t, s, "")
}

func wantListed(t *testing.T, s *artifact.Store, project string, want ...artifact.Name) {
	t.Helper()
	var got []artifact.Name
	err := s.List(t.Context(), project, func(f artifact.File) error { got = append(got, f.Name); return nil })
	if err != nil || len(got) != len(want) || len(got) == 1 && got[0] != want[0] {
		t.Errorf("list of %q: %v, %v; want %v", project, got, err, want)
	}
}

// testSpooled: a spooled file becomes the stored one, on any store, and a damaged one is told from it.
func testSpooled(t *testing.T, d artifact.Driver) {
	content := []byte("a kite")
	n, s := nameOf(content), artifact.New("kind://x", d)
	path := filepath.Join(t.TempDir(), "spooled")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.PutSpooled(t.Context(), n, 6, path, f); err != nil {
		t.Error(err)
	}
	if err := s.Verify(t.Context(), n); err != nil {
		t.Error(err)
	}
	if err := s.Put(t.Context(), n, 7, strings.NewReader("a kites")); !errors.Is(err, artifact.ErrChecksum) {
		t.Errorf("another size under its name: %v", err)
	}
}

// testCutOff: a put that is cut off in the middle leaves nothing.
func testCutOff(t *testing.T, d artifact.Driver) {
	content := bytes.Repeat([]byte("k"), putBytes)
	n := nameOf(content)
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(bytes.NewReader(content[:putBytes-1]), &cutting{cancel: cancel})
	if err := artifact.New("kind://x", d).Put(ctx, n, putBytes, r); err == nil {
		t.Error("no error")
	}
	wantNothing(t, d, n)
}

func wantNothing(t *testing.T, d artifact.Driver, n artifact.Name) {
	t.Helper()
	if _, _, err := d.Stat(t.Context(), n.String()); !errors.Is(err, artifact.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
	wantListed(t, artifact.New("kind://x", d), n.Project, nameOf([]byte("a kite"))) // of testSpooled
}

type cutting struct{ cancel func() }

func (c *cutting) Read(p []byte) (int, error) { c.cancel(); return len(p), nil }

// testKilled: a put in a process that is killed in the middle leaves nothing.
func testKilled(t *testing.T, url string, d artifact.Driver) {
	put := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPutForever$")
	put.Env = append(os.Environ(), putTo+"="+url)
	out, err := put.StdoutPipe()
	if err == nil {
		err = put.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "halfway\n" {
		t.Errorf("the process says %q, %v", line, err)
	}
	if err := put.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = put.Wait() // it was killed
	wantNothing(t, d, nameOf(bytes.Repeat([]byte("f"), putBytes)))
}

// TestPutForever is what testKilled kills: a put that waits for its last byte.
func TestPutForever(t *testing.T) {
	url := os.Getenv(putTo)
	if url == "" {
		t.Skip("it runs as a process of TestStores")
	}
	content := bytes.Repeat([]byte("f"), putBytes)
	var js jetstream.JetStream
	if broker, _, ok := strings.Cut(url, "|"); ok {
		url, js = "nats://"+bucket, connect(t, broker)
	}
	s, err := all.Open(t.Context(), url, js)
	if err != nil {
		t.Fatal(err)
	}
	r := io.MultiReader(bytes.NewReader(content[:putBytes-1]), halfway{})
	t.Error(s.Put(t.Context(), nameOf(content), putBytes, r))
}

type halfway struct{}

func (halfway) Read([]byte) (int, error) {
	fmt.Println("halfway")
	select {}
}

// testLinks: a store that gives links gives ones that work without any key, for one file, and until they expire.
func testLinks(t *testing.T, d artifact.Driver) {
	n, s := nameOf([]byte("a kite")), artifact.New("kind://x", d)
	link, ok, err := s.Link(t.Context(), n, "kite-1.mp4", time.Minute)
	if err != nil || !ok {
		if _, links := d.(artifact.Linker); links || err != nil {
			t.Errorf("no link: %v", err)
		}
		return
	}
	wantAnswer(t, link, "", http.StatusOK, "a kite")
	wantAnswer(t, link, "bytes=2-", http.StatusPartialContent, "kite")
	wantAnswer(t, strings.Replace(link, n.SHA256, strings.Repeat("0", 64), 1), "", http.StatusForbidden, "")
	short, _, err := s.Link(t.Context(), n, "kite-1.mp4", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(100 * time.Millisecond) {
		if status, _ := answer(t, short, ""); status == http.StatusForbidden {
			return
		}
	}
	t.Error("a link of a second works after ten")
}

// testAdopted: a file that is sent as it is counts only with the sum of its name.
func testAdopted(t *testing.T, d artifact.Driver) {
	path := filepath.Join(t.TempDir(), "spooled")
	if err := os.WriteFile(path, []byte("another kite"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := nameOf([]byte("a kite over dunes"))
	if err := d.(artifact.Adopter).Adopt(t.Context(), n, path); err == nil {
		t.Error("a file of another sum is taken")
	}
	if _, _, err := d.Stat(t.Context(), n.String()); !errors.Is(err, artifact.ErrNotFound) {
		t.Errorf("after a file of another sum: %v", err)
	}
}

// testInputs: objects below what is allowed of a bucket are read, and nothing else.
func testInputs(t *testing.T, url string, d artifact.Driver) {
	if err := d.Put(t.Context(), "frames/first 1.png", strings.NewReader("a kite")); err != nil {
		t.Fatal(err)
	}
	scheme, _, _ := strings.Cut(url, "://")
	base := scheme + "://" + bucket + "/below/it/"
	open := func(allowed string) *cloud.Objects {
		o, err := all.OpenInputs(t.Context(), []string{strings.Replace(url, "/below/it", allowed, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, allowed := range []string{"", "/below/it", "/below/it/frames/"} {
		o := open(allowed)
		is, err := o.Stat(t.Context(), base+"frames/first 1.png")
		if err != nil || is.Size != 6 || is.ETag == "" {
			t.Errorf("of %q: %+v, %v", allowed, is, err)
		}
		r, err := o.Open(t.Context(), base+"frames/first 1.png")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || string(got) != "a kite" {
			t.Errorf("of %q: %q, %v", allowed, got, err)
		}
	}
	o := open("/below/it/frames")
	for object, want := range map[string]error{
		base + "frames/second.png": artifact.ErrNotFound, base + "framesx": artifact.ErrNotAllowed, base + "a.png": artifact.ErrNotAllowed,
		base + "frames/../a.png": artifact.ErrNotAllowed, scheme + "://other/below/it/frames/a.png": artifact.ErrNotAllowed,
		"file:///etc/passwd": artifact.ErrNotAllowed,
	} {
		if _, err := o.Stat(t.Context(), object); !errors.Is(err, want) {
			t.Errorf("stat of %s: %v, want %v", object, err, want)
		}
		if _, err := o.Open(t.Context(), object); !errors.Is(err, want) {
			t.Errorf("open of %s: %v, want %v", object, err, want)
		}
	}
	for _, bad := range []string{"file:///tmp", "nats://b", "s3://", "x"} {
		if _, err := all.OpenInputs(t.Context(), []string{bad}); !errors.Is(err, all.ErrURL) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func wantAnswer(t *testing.T, link, ranged string, status int, body string) {
	t.Helper()
	if gotStatus, got := answer(t, link, ranged); gotStatus != status || body != "" && got != body {
		t.Errorf("HTTP %d, %.200q; want %d, %q", gotStatus, got, status, body)
	}
}

func answer(t *testing.T, link, ranged string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranged != "" {
		r.Header.Set("Range", ranged)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestNames: what is asked for by a name never leaves the store.
func TestNames(t *testing.T) {
	sum := strings.Repeat("a", 64)
	for _, ok := range []string{"demo/" + sum, "demo/" + sum + ".mp4"} {
		if n, err := artifact.ParseName(ok); err != nil || n.String() != ok {
			t.Errorf("%s: %v, %v", ok, n, err)
		}
	}
	for _, bad := range []string{
		"", sum, "demo/x", "demo/" + sum + "/", "../" + sum, "demo/../" + sum, "demo/" + sum + ".mp4/..", "demo/" + sum + "..",
		"demo/" + strings.ToUpper(sum), "a/b/" + sum, "demo/" + sum + ".a/b", "demo/" + sum + "\n",
	} {
		if _, err := artifact.ParseName(bad); !errors.Is(err, artifact.ErrName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
