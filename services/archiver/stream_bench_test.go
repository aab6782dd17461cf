package archiver

import (
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
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/artifact"
	"reelay/internal/media"
)

var streamBytes = flag.Int64("archiver.bytes", 64<<20, "size of the artifact of BenchmarkStream, over 16 bytes")

// BenchmarkStream fetches and stores an artifact, beside a plain io.Copy of the same transfer into a synced file. It
// reports the share of the plain rate that is reached, and the heap beyond what there was before.
func BenchmarkStream(b *testing.B) {
	web := httptest.NewServer(http.HandlerFunc(serveVideo))
	defer web.Close()
	root := b.TempDir()
	dir, err := artifact.OpenDir(filepath.Join(root, "store"))
	if err != nil {
		b.Fatal(err)
	}
	spool, err := openSpool(filepath.Join(root, "spool"))
	if err != nil {
		b.Fatal(err)
	}
	s := &Service{
		log: slog.New(slog.DiscardHandler), spool: spool, metrics: newMetrics(prometheus.NewRegistry()),
		o: Options{Store: artifact.New("file://"+root, dir), Fetcher: media.NewFetcher(media.Loopback(), *streamBytes)},
	}
	var plain, stored time.Duration
	watch := watchHeap()
	b.SetBytes(*streamBytes)
	for i := range b.N {
		b.StopTimer()
		// Each is another file, or the store would have it.
		link := web.URL + "/" + strconv.Itoa(i) + ".mp4"
		plain += copyPlainly(b, link, filepath.Join(root, "plain"))
		t := events.Task{ID: fmt.Sprintf("t%d", i), Project: "demo", TaskType: events.Video, Result: &events.Result{
			Outputs: []events.Output{{URL: link}},
		}}
		b.StartTimer()
		begin := time.Now()
		o, err := s.settle(b.Context(), t, 0)
		stored += time.Since(begin)
		b.StopTimer()
		if err != nil || o.Size != *streamBytes {
			b.Fatal(o.Size, err)
		}
		s.spool.remove(t.Key(), 0)
		name, err := artifact.ParseName(o.StoredURL[len("file://"+root)+1:])
		if err == nil {
			err = s.o.Store.Delete(b.Context(), name)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(plain.Seconds()/stored.Seconds(), "of-io.Copy")
	b.ReportMetric(float64(watch()), "heap-MB")
}

// serveVideo sends streamBytes that begin as an MP4 does; the path makes them another file.
func serveVideo(w http.ResponseWriter, r *http.Request) {
	head := []byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + r.URL.Path)
	w.Header().Set("Content-Type", "video/mp4")
	w.Header().Set("Content-Length", strconv.FormatInt(*streamBytes, 10))
	if _, err := w.Write(head); err != nil {
		return
	}
	chunk := make([]byte, 1<<20)
	for left := *streamBytes - int64(len(head)); left > 0; left -= int64(len(chunk)) {
		if _, err := w.Write(chunk[:min(left, int64(len(chunk)))]); err != nil {
			return
		}
	}
}

func copyPlainly(b *testing.B, link, path string) time.Duration {
	begin := time.Now()
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
	return time.Since(begin)
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
