package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reelay/events"
)

// fileBench is a bench with an archiver that takes files in; got are those by their name.
func fileBench(t *testing.T) (b *testbed, got map[string]string) {
	t.Helper()
	got = map[string]string{}
	archiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPut {
			http.Error(w, "there is no room", http.StatusInsufficientStorage)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		got[name] = string(content)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"project":"demo","name":"` + name + `","size":4}`))
	}))
	t.Cleanup(archiver.Close)
	b = newBench(t)
	b.answer(events.VerbUpload, func(_ string, payload []byte) any {
		r, err := events.DecodeUploadRequest(payload)
		if err != nil {
			t.Error(err)
		}
		return events.UploadReply{URL: archiver.URL + "/" + r.Name, Method: http.MethodPut}
	})
	return b, got
}

// TestUpload hands a file in at the link that the archiver gives, under a name that requests can say.
func TestUpload(t *testing.T) {
	b, got := fileBench(t)
	file := filepath.Join(t.TempDir(), ".a kite.png")
	if err := os.WriteFile(file, []byte("kite"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.reelay("upload", file, "--project", "demo").check(t, 0, "a_kite.png\n", "")
	if asked := strings.Join(b.heard(), "\n"); got["a_kite.png"] != "kite" ||
		asked != `reelay.api.upload.demo {"name":"a_kite.png","size":4}` {
		t.Errorf("asked %s, uploaded %q", asked, got)
	}
	b.reelay("upload", file, "--name", "../x").check(t, 1, "", "name: must be the name of a file")
	b.reelay("upload", filepath.Dir(file)).check(t, 2, "", "is not a file")

	full := newBench(t)
	full.answer(events.VerbUpload, func(string, []byte) any {
		return events.UploadReply{URL: strings.Replace(full.url, "nats:", "http:", 1), Method: "BREW"}
	})
	full.reelay("upload", file).check(t, 1, "", "upload of a_kite.png: ")
}

// TestSubmitFiles hands the files of this machine in before the request that names them, each once; links stay.
func TestSubmitFiles(t *testing.T) {
	b, got := fileBench(t)
	b.answer(events.VerbSubmit, func(_ string, payload []byte) any {
		if _, err := events.DecodeRequest(payload); err != nil {
			return events.Error{Code: events.CodeInvalidRequest, Message: err.Error()}
		}
		return events.TaskReply{Task: aTask()}
	})
	dir := t.TempDir()
	sum := func(s string) string {
		d := sha256.Sum256([]byte(s))
		return hex.EncodeToString(d[:])[:16]
	}
	for name, content := range map[string]string{
		"a.png": "one", "b.png": "two",
		"in.json": `{"seed":12345678901234567890,"frames":["file:` + dir + `/a.png","https://m.example/c"]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, second := "a-"+sum("one")+".png", "b-"+sum("two")+".png"
	for _, row := range []struct {
		args  []string
		want  string
		files []string
	}{
		{
			[]string{"--image", dir + "/a.png", "--last-frame", "https://m.example/c", "--reference", "file:" + dir + "/a.png", "--reference", "kept.png"},
			`"want":{"image":"` + a + `","last_frame":"https://m.example/c","references":["` + a + `","kept.png"]}`,
			[]string{a},
		},
		{
			[]string{"--provider", "p", "--model", "m", "--input", dir + "/in.json", "--file", "/tail/url=" + dir + "/b.png"},
			"", nil, // there is no such place
		},
		{
			[]string{"--provider", "p", "--model", "m", "--input", dir + "/in.json", "--file", "tail=" + dir + "/b.png"},
			`"input":{"frames":[{"$file":"` + a + `"},"https://m.example/c"],"seed":12345678901234567890},"input_files":{"tail":"` + second + `"}`,
			[]string{a, second},
		},
		{
			[]string{"--provider", "p", "--model", "m", "--file", "file_id=" + dir + "/b.png"},
			`"input":{},"input_files":{"file_id":"` + second + `"}`,
			[]string{second},
		},
	} {
		clear(got)
		b.heard()
		r := b.reelay(append([]string{"submit", "video", "--project", "demo", "--id", "t1"}, row.args...)...)
		if row.want == "" {
			r.check(t, 2, "", "input_files./tail/url: there is no such place")
			continue
		}
		r.check(t, 0, "t1\n", "handed in ")
		asked := b.heard()
		if last := asked[len(asked)-1]; !strings.Contains(last, row.want) || len(asked) != len(row.files)+1 || len(got) != len(row.files) {
			t.Errorf("%v: asked %q, handed in %v; want %s", row.args, asked, got, row.want)
		}
		for _, name := range row.files {
			if got[name] == "" {
				t.Errorf("%v: %s was not handed in", row.args, name)
			}
		}
	}
	for _, missing := range []string{"--image=file:" + dir + "/none.png", "--file=a=" + dir + "/none.png", "--image=" + dir + "/none.png"} {
		b.reelay("submit", "video", "--project", "demo", missing).check(t, 2, "", "none.png")
	}
}
