package provider

import "testing"

// TestReason: a reason keeps its words, and of a link what says which file is meant.
func TestReason(t *testing.T) {
	for text, want := range map[string]string{
		"could not load https://u:p@h.test/a.png?X-Amz-Signature=dead&x=1": "could not load https://h.test/a.png?...",
		`"HTTPS://h.test/a b.png" is gone`:                                 `"HTTPS://h.test/a b.png" is gone`,
		"(see https://key@h.test).":                                        "(see https://h.test).",
		"s3://b/k.png?sig=1, http://h.test?a=b c":                          "s3://b/k.png?... http://h.test?... c",
		"a@b.test is no link; 3:4 neither, nor a://":                       "a@b.test is no link; 3:4 neither, nor a://",
		"x\x1b[31m": "x [31m",
	} {
		if got := Reason(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
