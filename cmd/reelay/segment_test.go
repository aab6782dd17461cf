package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/natsd"
	"reelay/internal/proc"
)

// quickSandbox starts a sandbox whose providers take no time to speak of, and returns what connects to it.
func quickSandbox(t *testing.T, log *slog.Logger) func() *nats.Conn {
	t.Helper()
	free := func(string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	dir := t.TempDir()
	store, err := artifactsIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := proc.New(log)
	s, err := allinone.Start(t.Context(), p, allinone.Options{
		StoreDir: dir, Sync: natsd.SyncInterval, Providers: config.Resolved{Sandbox: true},
		Artifacts: config.Artifacts{Store: store, MaxBytes: config.MaxArtifactBytes},
		Speed:     emulator.Speed{Queue: time.Millisecond, Run: time.Millisecond}, SandboxInterval: 20 * time.Millisecond,
		ListenEmulator: free, ListenArchiver: free, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return func() *nats.Conn {
		nc, err := s.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
}

// program runs a program for a minute at most, and returns what it prints.
func program(t *testing.T, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, name, args...).CombinedOutput()
}

// lengths returns how long the pictures and the sound of a file are, in seconds.
func lengths(t *testing.T, path string) (video, audio float64) {
	t.Helper()
	raw, err := program(t, "ffprobe", "-v", "error", "-show_entries", "stream=codec_type,duration", "-of", "json", path)
	var found struct {
		Streams []struct {
			Type     string `json:"codec_type"`
			Duration string `json:"duration"`
		} `json:"streams"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &found)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, s := range found.Streams {
		seconds, _ := strconv.ParseFloat(s.Duration, 64)
		if s.Type == "video" {
			video = seconds
		} else {
			audio = seconds
		}
	}
	if video == 0 || audio == 0 {
		t.Errorf("%s lacks pictures or sound: %s", path, raw)
	}
	return video, audio
}

// TestSegment makes a segment by the command, and one that goes on where it ends by what the command prints, published
// from its end, and one film of both.
func TestSegment(t *testing.T) {
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("a segment is put together by ffmpeg: ", err)
		}
	}
	dir := t.TempDir()
	voice, picture := filepath.Join(dir, "v.wav"), filepath.Join(dir, "first.png")
	for path, source := range map[string]string{voice: "sine=d=12", picture: "testsrc=s=1280x720:d=0.04"} {
		if out, err := program(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", source, path); err != nil {
			t.Fatalf("%s: %v: %s", path, err, out)
		}
	}
	e, stdout, stderr := testEnv()
	connect := quickSandbox(t, e.log)
	e.startSandbox = func(context.Context, *slog.Logger) (*nats.Conn, func(), error) { return connect(), func() {}, nil }
	reelay := func(args ...string) (printed string) {
		t.Helper()
		before := len(stdout.String())
		if code := execute(t.Context(), e, append(args, "--sandbox", "--project", "demo")); code != 0 {
			t.Fatalf("%q: exit code %d\n%s", args, code, stderr)
		}
		return stdout.String()[before:]
	}
	reelay("segment", "--voice-sample", voice, "--text", "there", "--image", picture, "--prompt", "a kite", "--id", "one", "--output", dir)
	two := []string{"segment", "--voice", "narrator", "--text", "it's a {{kite}}", "--continue", "one", "--prompt", "it flies", "--id", "two", "--output", dir}
	nc := connect()
	js, err := newAPI(nc, "").nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.Split(strings.TrimSpace(reelay(append(two, "--dry-run")...)), "\n")
	slices.Reverse(commands)
	for _, c := range commands {
		words := strings.SplitN(c, " ", 5)
		body := strings.ReplaceAll(strings.Trim(words[4], "'"), `'\''`, "'")
		if _, err := js.Publish(words[3], []byte(body)); err != nil || strings.Contains(body, "{{") {
			t.Fatalf("%s: %v", c, err)
		}
	}
	reelay(two...) // finds what is there
	reelay("concat", "one", "two", "--id", "film", "--output", dir)
	sum := 0.0
	for _, id := range []string{"one", "two", "film"} {
		video, audio := lengths(t, filepath.Join(dir, id+".mp4"))
		if math.Abs(video-audio) > 0.05 {
			t.Errorf("%s: %v s of pictures and %v s of sound", id, video, audio)
		}
		if id == "film" && math.Abs(video-sum) > 0.1 {
			t.Errorf("%v s of what has %v s", video, sum)
		}
		sum += video
	}
	for id, of := range map[string]string{"one": "one one-voice one-speech one-video", "two": "two two-speech two-frame two-video"} {
		r, err := newAPI(nc, "").List(t.Context(), "demo", events.ListRequest{BatchID: id})
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, task := range r.Tasks {
			found = append(found, task.ID)
		}
		want := strings.Fields(of)
		slices.Sort(want)
		if slices.Sort(found); !slices.Equal(found, want) {
			t.Errorf("batch %s has %q, want %q", id, found, want)
		}
	}
}
