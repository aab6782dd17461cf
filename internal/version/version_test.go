package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestOf(t *testing.T) {
	for _, row := range []struct {
		info debug.BuildInfo
		want Build
	}{
		{debug.BuildInfo{}, Build{Version: "(devel)"}},
		{debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v1.2.3"}}, Build{Version: "v1.2.3", Go: "go1.26"}},
		{
			debug.BuildInfo{Main: debug.Module{Version: "v1.2.3+dirty"}, Settings: []debug.BuildSetting{
				{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "abc"},
			}},
			Build{Version: "v1.2.3+dirty", Revision: "abc+dirty"},
		},
	} {
		if got := of(&row.info); got != row.want {
			t.Errorf("got %+v, want %+v", got, row.want)
		}
	}
	if b := Get(); b.Version == "" || b.Go != runtime.Version() {
		t.Errorf("this build is %+v", b)
	}
}
