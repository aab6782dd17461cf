package main

import (
	"bytes"
	"strings"
	"testing"
)

// The whole stack takes the settings of its providers: a base URL that went unheard would send a key, and money, to
// another place than was meant.
func TestUpTakesTheSettingsOfProviders(t *testing.T) {
	for flag, value := range map[string]string{
		"--fal-url": "http://fal.example", "--minimax-url": "http://minimax.example", "--fal-jwks-url": "http://jwks.example",
	} {
		var said bytes.Buffer
		code := execute(t.Context(), &env{stdout: &said, stderr: &said}, []string{
			"up", flag, value, "--store-dir", t.TempDir(), "--listen", "127.0.0.1:0",
		})
		if code == 0 || !strings.Contains(said.String(), flag) || !strings.Contains(said.String(), "must be https") {
			t.Errorf("%s %s: exit code %d: %s", flag, value, code, said.String())
		}
	}
}

// What is not the sandbox is not reached by others without TLS, and neither is the sandbox.
func TestUpRefusesToBeExposed(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, args := range [][]string{{"--lane", "gpu1=openai-videos:http://127.0.0.1:1"}, {"--sandbox"}} {
		var said bytes.Buffer
		code := execute(t.Context(), &env{stdout: &said, stderr: &said}, append([]string{
			"up", "--store-dir", t.TempDir(), "--listen", "0.0.0.0:0", "--ops-listen", "",
		}, args...))
		if code == 0 || !strings.Contains(said.String(), "--broker-tls-cert") {
			t.Errorf("%v: exit code %d: %s", args, code, said.String())
		}
	}
}
