package console

import (
	"strings"
	"testing"
	"time"
)

func TestUsers(t *testing.T) {
	const token = "a-token-of-16-bytes"
	good := `{"token":"` + token + `","name":"heron","role":"act"}`
	for text, why := range map[string]string{
		`{}`: "is not a JSON list", `[]`: "has 0 users", `[` + good + `] x`: "is not a JSON list",
		`[{"token":"short","name":"a","role":"act"}]`:                      "entry 1: token has not",
		`[{"token":"` + token + `","name":"a.b","role":"act"}]`:            "entry 1: name must be",
		`[{"token":"` + token + `","name":"a","role":"root"}]`:             `entry 1: role "root"`,
		`[{"token":"` + token + `","name":"a","role":"act","extra":1}]`:    "is not a JSON list",
		`[` + good + `,{"token":"` + token + `","name":"b","role":"act"}]`: "entry 2: an entry before",
	} {
		_, err := parseUsers([]byte(text))
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: got %v, want %q and no token", text, err, why)
		}
	}
	all, err := parseUsers([]byte(`[` + good + `]`))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	session := all[0].session(now)
	if u, ok := all.withSession(session, now.Add(time.Hour)); !ok || u.Name != "heron" {
		t.Error("a session of an hour ago is not known")
	}
	other := Users{{Name: "heron", Role: RoleAct}}
	for name, ok := range map[string]bool{
		"late":      found(all.withSession(session, now.Add(sessionAge))),
		"prolonged": found(all.withSession(strings.Replace(session, "1043200", "9043200", 1), now)),
		"of others": found(other.withSession(session, now)),
		"empty":     found(all.withSession("", now)),
		"cut":       found(all.withSession(session[:len(session)-1], now)),
	} {
		if ok {
			t.Errorf("a session is accepted that is %s", name)
		}
	}
}

func found(_ User, ok bool) bool { return ok }

func TestPlayer(t *testing.T) {
	for contentType, want := range map[string]string{
		"video/mp4": "video", "audio/mpeg; charset=x": "audio", "image/png": "img",
		"image/svg+xml": "", "text/html": "", "application/pdf": "", "": "", "video": "", "application/xhtml+xml": "",
	} {
		if got := player(contentType); got != want {
			t.Errorf("%s is played by %q, want %q", contentType, got, want)
		}
	}
	for link, ok := range map[string]bool{
		"https://media.example/a.mp4": true, "http://127.0.0.1:1/x": true, "javascript:alert(1)": false, "data:text/html,x": false,
		"//evil.example": false, "/x": false, "": false, "https:": false,
	} {
		if got := shown(link) != ""; got != ok {
			t.Errorf("%s is a link: %t, want %t", link, got, ok)
		}
	}
}
