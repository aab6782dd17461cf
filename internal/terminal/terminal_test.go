package terminal

import "testing"

func TestCut(t *testing.T) {
	for _, row := range []struct {
		text    string
		columns int
		want    string
	}{
		{"abc", 2, "ab"},
		{"abc", 3, "abc"},
		{"风筝飞过沙丘", 5, "风筝"}, // the third would need a sixth column
		{"风筝", 0, ""},
		{"a", -1, ""},
		{"👩‍🚀 kite", 4, "👩‍🚀 k"},
	} {
		if got := Cut(row.text, row.columns); got != row.want || Width(got) > max(0, row.columns) {
			t.Errorf("Cut(%q, %d) = %q", row.text, row.columns, got)
		}
	}
	if got := Pad("风筝", 6); got != "风筝  " {
		t.Errorf("%q", got)
	}
}

func TestBar(t *testing.T) {
	for done, want := range map[float64]string{
		-1: "[--------------------]", 0.5: "[##########----------]", 7: "[####################]",
	} {
		if got := Bar(done); got != want {
			t.Errorf("%v: %s", done, got)
		}
	}
}

func TestStyle(t *testing.T) {
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	if got := StyleOf(true, getenv).Paint(Bad, "failed"); got != "\x1b[31mfailed\x1b[0m" {
		t.Errorf("%q", got)
	}
	plain := []string{StyleOf(false, getenv).Paint(Bad, "failed"), StyleOf(true, getenv).Paint(Plain, "failed")}
	env["NO_COLOR"] = "1"
	plain = append(plain, StyleOf(true, getenv).Paint(Bad, "failed"))
	env["NO_COLOR"], env["TERM"] = "", "dumb"
	plain = append(plain, StyleOf(true, getenv).Paint(Bad, "failed"))
	for i, got := range plain {
		if got != "failed" {
			t.Errorf("%d: %q", i, got)
		}
	}
}
