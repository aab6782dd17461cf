package archiver

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"gocloud.dev/blob"

	"reelay/events"
	"reelay/internal/artifact"
	"reelay/internal/artifact/all"
	"reelay/internal/media"
	"reelay/internal/test/stores"
)

var (
	streamBytes = flag.Int64("archiver.bytes", 64<<20, "size of the artifact of BenchmarkStream, over 16 bytes")
	manyFiles   = flag.Int("archiver.many", 20, "how many artifacts of 8 MB BenchmarkMany stores at once")
)

// maxHeapMB is what the archiver may take of memory, beyond what there was before.
const maxHeapMB = 64

// A benched is an archiver with a store of a kind, and what copies plainly into such a store.
type benched struct {
	*Service
	web   *httptest.Server
	plain func(b *testing.B, link string)
}

// kindsOfStores are those that are measured. S3 is skipped where its server is not installed.
var kindsOfStores = []struct {
	name  string
	start func(b *testing.B) (*artifact.Store, func(*testing.B, string))
}{
	{"file", startFile}, {"s3", startS3},
}

func startFile(b *testing.B) (*artifact.Store, func(*testing.B, string)) {
	root := b.TempDir()
	store, err := all.Open(b.Context(), "file://"+root, nil)
	if err != nil {
		b.Fatal(err)
	}
	return store, func(b *testing.B, link string) { copyToFile(b, link, filepath.Join(root, "plain")) }
}

func startS3(b *testing.B) (*artifact.Store, func(*testing.B, string)) {
	url := "s3://" + stores.Bucket + stores.S3(b)
	store, err := all.Open(b.Context(), url, nil)
	if err != nil {
		b.Fatal(err)
	}
	bucket, err := blob.OpenBucket(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	return store, func(b *testing.B, link string) {
		to, err := bucket.SignedURL(b.Context(), "plain", &blob.SignedURLOptions{Method: http.MethodPut})
		if err != nil {
			b.Fatal(err)
		}
		copyToURL(b, link, to)
	}
}

func start(b *testing.B, kind func(*testing.B) (*artifact.Store, func(*testing.B, string)), size int64) benched {
	store, plain := kind(b)
	spool, err := openSpool(filepath.Join(b.TempDir(), "spool"))
	if err != nil {
		b.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serveVideo(w, r, size) }))
	b.Cleanup(web.Close)
	return benched{&Service{
		log: slog.New(slog.DiscardHandler), spool: spool, metrics: newMetrics(prometheus.NewRegistry()), gate: newGate(slots),
		usage: &usage{}, o: Options{Store: store, Fetcher: media.NewFetcher(media.Loopback(), size)},
	}, web, plain}
}

// store has one artifact stored, another for each number. done takes it away again.
func (s benched) store(ctx context.Context, n int, size int64) (done func() error, err error) {
	t := events.Task{ID: fmt.Sprintf("t%d", n), Project: "demo", TaskType: events.Video, Result: &events.Result{
		Outputs: []events.Output{{URL: s.link(n)}},
	}}
	leave, err := s.gate.enter(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	o, err := s.settle(ctx, t, 0)
	leave()
	if err != nil {
		return nil, err
	}
	name, ok := nameOf(o.StoredURL)
	if !ok || o.Size != size {
		return nil, fmt.Errorf("%d bytes are stored as %s", o.Size, o.StoredURL)
	}
	return func() error {
		s.spool.remove(t.Key(), 0)
		return s.o.Store.Delete(ctx, name)
	}, nil
}

func (s benched) link(n int) string { return s.web.URL + "/" + strconv.Itoa(n) + ".mp4" }

// BenchmarkStream fetches and stores an artifact, beside a plain io.Copy of the same transfer into the same kind of store. It
// reports the share of the plain rate that is reached, and the heap beyond what there was before.
func BenchmarkStream(b *testing.B) {
	for _, kind := range kindsOfStores {
		b.Run(kind.name, func(b *testing.B) {
			s := start(b, kind.start, *streamBytes)
			var plain, stored time.Duration
			watch := watchHeap()
			b.SetBytes(*streamBytes)
			for i := range b.N {
				b.StopTimer()
				begin := time.Now()
				s.plain(b, s.link(i))
				plain += time.Since(begin)
				b.StartTimer()
				begin = time.Now()
				done, err := s.store(b.Context(), i, *streamBytes)
				stored += time.Since(begin)
				b.StopTimer()
				if err == nil {
					err = done()
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(plain.Seconds()/stored.Seconds(), "of-io.Copy")
			reportHeap(b, watch())
		})
	}
}

// BenchmarkMany fetches and stores many artifacts at once, of 8 MB each.
func BenchmarkMany(b *testing.B) {
	const size = 8 << 20
	for _, kind := range kindsOfStores {
		b.Run(kind.name, func(b *testing.B) {
			s := start(b, kind.start, size)
			watch := watchHeap()
			b.SetBytes(size * int64(*manyFiles))
			for range b.N {
				var running sync.WaitGroup
				for n := range *manyFiles {
					running.Go(func() {
						done, err := s.store(b.Context(), n, size)
						if err == nil {
							err = done()
						}
						if err != nil {
							b.Error(err)
						}
					})
				}
				running.Wait()
			}
			reportHeap(b, watch())
		})
	}
}

func reportHeap(b *testing.B, mb uint64) {
	b.ReportMetric(float64(mb), "heap-MB")
	if mb > maxHeapMB {
		b.Errorf("the heap has grown by %d MB", mb)
	}
}

// serveVideo sends size bytes that begin as an MP4 does; the path makes them another file.
func serveVideo(w http.ResponseWriter, r *http.Request, size int64) {
	head := []byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + r.URL.Path)
	w.Header().Set("Content-Type", "video/mp4")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := w.Write(head); err != nil {
		return
	}
	for left := size - int64(len(head)); left > 0; left -= int64(len(zeros)) {
		if _, err := io.WriteString(w, zeros[:min(left, int64(len(zeros)))]); err != nil {
			return
		}
	}
}

var zeros = strings.Repeat("\x00", 1<<20)

func copyToFile(b *testing.B, link, path string) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(path)
	defer f.Close()
	res, err := http.Get(link)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(f, res.Body); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
}

func copyToURL(b *testing.B, link, to string) {
	res, err := http.Get(link)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	put, err := http.NewRequestWithContext(b.Context(), http.MethodPut, to, res.Body)
	if err != nil {
		b.Fatal(err)
	}
	put.ContentLength = res.ContentLength
	answer, err := http.DefaultClient.Do(put)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		b.Fatalf("HTTP %d %s", answer.StatusCode, text)
	}
}

// watchHeap samples the heap until the function that it returns is called, which tells by how many megabytes it has been
// larger than at first.
func watchHeap() (most func() uint64) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	runtime.GC()
	first := heap()
	var largest atomic.Uint64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			largest.Store(max(largest.Load(), heap()))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		close(done)
		<-ended
		return (largest.Load() - min(first, largest.Load())) >> 20
	}
}
