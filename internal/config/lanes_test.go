package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reelay/internal/provider/registry"
)

func TestLanes(t *testing.T) {
	t.Setenv("GPU_2_KEY", "sk-two")
	given := []string{"gpu1=openai-videos:http://10.0.0.5:8000/", "gpu-2=openai-videos:https://gpu.example.com/v1"}
	r, err := Providers{Lanes: Lanes{Lane: given}}.Resolve()
	if err != nil || len(r.Lanes) != 2 || !r.HasAny() {
		t.Fatalf("%+v, %v", r.Lanes, err)
	}
	if l := r.Lanes[0]; l.Name != "gpu1" || l.Provider != "openai-videos" || l.URL != "http://10.0.0.5:8000" || !l.Key.Empty() {
		t.Errorf("the first is %+v", l)
	}
	if l := r.Lanes[1]; l.Name != "gpu-2" || l.URL != "https://gpu.example.com/v1" || l.Key.Reveal() != "sk-two" {
		t.Errorf("the second is %+v", l)
	}
	if r, err = (Providers{Sandbox: true, Lanes: Lanes{Lane: given[1:]}}).Resolve(); err != nil || !r.Lanes[0].Key.Empty() {
		t.Errorf("in the sandbox: %+v, %v", r.Lanes, err)
	}
	for text, says := range map[string]string{
		"gpu1":                                      "NAME=PROVIDER:URL",
		"gpu1=openai-videos":                        "NAME=PROVIDER:URL",
		"gpu 1=openai-videos:http://10.0.0.5":       "the name of a lane",
		"gpu1=fal:http://10.0.0.5":                  "plain http is for loopback addresses only",
		"gpu1=nobody:http://10.0.0.5":               "is no provider",
		"team2=fal:":                                "NAME=PROVIDER:URL",
		"team2=minimax":                             "set TEAM2_KEY, or TEAM2_KEY_FILE",
		"gpu1=openai-videos:http://8.8.8.8":         "plain http is for loopback and private addresses only",
		"gpu1=openai-videos:http://u:secret@gpu1/":  "no user",
		"fal=openai-videos:http://10.0.0.5":         "FAL_KEY, which is another's",
		"minimax-api=openai-videos:http://10.0.0.5": "MINIMAX_API_KEY, which is another's",
	} {
		_, err := Providers{Lanes: Lanes{Lane: []string{text}}}.Resolve()
		var setting *SettingError
		if !errors.As(err, &setting) || setting.Flag != "--lane" || !strings.Contains(err.Error(), says) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", text, err, says)
		}
	}
	for _, other := range []string{given[0], "GPU1=openai-videos:http://10.0.0.6"} {
		if _, err := (Lanes{Lane: []string{given[0], other}}).Named(); err == nil {
			t.Errorf("%s is taken beside one whose key has the same variable", other)
		}
	}
}

// TestGroups: a group is of lanes that are there, of one provider, under a name of its own.
func TestGroups(t *testing.T) {
	clearEnv(t)
	lanes := Lanes{Lane: []string{
		"gpu1=openai-videos:http://10.0.0.5", "gpu2=openai-videos:http://10.0.0.6", "gpu3=comfy:http://10.0.0.7",
	}}
	r, err := Providers{Lanes: lanes, Groups: Groups{Group: []string{"gpu=gpu1:2,gpu2"}}}.Resolve()
	if err != nil || len(r.Groups) != 1 || r.Groups[0].Name != "gpu" || r.Groups[0].Members[0].Weight != 2 {
		t.Errorf("%+v, %v", r.Groups, err)
	}
	for text, says := range map[string]string{
		"gpu": "NAME=LANE", "gpu=gpu1,gpu9": `no lane "gpu9"`, "gpu=gpu1,fal": `no lane "fal"`, "gpu=gpu1,gpu3": "of one provider",
		"gpu2=gpu1": "of that name already", "fal=gpu1": "of that name already", "local=gpu1": "of that name already",
	} {
		for _, sandbox := range []bool{false, true} {
			_, err := Providers{Sandbox: sandbox, Lanes: lanes, Groups: Groups{Group: []string{"a=gpu1", text}}}.Resolve()
			var setting *SettingError
			if sandbox && says == `no lane "fal"` {
				says = "of one provider" // there it has a lane
			}
			if !errors.As(err, &setting) || setting.Flag != "--group" || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, want %s", text, err, says)
			}
		}
	}
}

// TestAccounts: another account is a name and its key, with an address where the provider has several.
func TestAccounts(t *testing.T) {
	clearEnv(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("id:secret-two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAL_TEAM2_KEY_FILE", file)
	t.Setenv("MINIMAX_CN_KEY", "eyJ-cn")
	given := Lanes{Lane: []string{"fal-team2=fal", "minimax-cn=minimax:https://api.minimaxi.com/"}}
	r, err := Providers{Lanes: given}.Resolve()
	if err != nil || len(r.Lanes) != 2 || len(r.Keys) != 0 {
		t.Fatalf("%+v, %v", r.Lanes, err)
	}
	if l := r.Lanes[0]; l.Provider != "fal" || l.URL != "" || l.Key.Reveal() != "id:secret-two" {
		t.Errorf("the first is %+v", l)
	}
	if l := r.Lanes[1]; l.Provider != "minimax" || l.URL != "https://api.minimaxi.com" || l.Key.Reveal() != "eyJ-cn" {
		t.Errorf("the second is %+v", l)
	}
	t.Setenv("FAL_TEAM2_USER_ID", "user_two")
	if got := r.Lanes[0].AccountSetting(registry.Find("fal").CallbackSettings[0]); got != "user_two" {
		t.Errorf("the user id of the first is %q", got)
	}
	if r, err := (Providers{Sandbox: true, Lanes: given}).Resolve(); err != nil || !r.Lanes[0].Key.Empty() {
		t.Errorf("in the sandbox: %+v, %v", r.Lanes, err)
	}
}
