package emulator

import (
	"reflect"
	"testing"
	"time"
)

func TestReadScript(t *testing.T) {
	for _, row := range []struct {
		name, body string
		want       Script
	}{
		{"every field", `{"prompt":"a heron","emulate":{"queue_ms":0,"run_ms":250,"position":3,"submit":"accept_then_reset","polls":"500",
			"poll_faults":2,"fail":"422","stall":"running","cancel":"ignored","result_faults":1}}`, Script{
			QueueMS: new(0), RunMS: new(250), Position: new(3), Submit: "accept_then_reset", Polls: "500", PollFaults: 2,
			Fail: "422", Stall: "running", Cancel: "ignored", ResultFaults: 1,
		}},
		{"one field", `{"emulate":{"fail":"500"}}`, Script{Fail: "500"}},
		{"a field that is not known", `{"emulate":{"fail":"500","later":true}}`, Script{Fail: "500"}},
		{"other fields of any type", `{"prompt":7,"image":[{}],"emulate":{"polls":"reset"}}`, Script{Polls: "reset"}},
		{"none", `{"prompt":"a heron"}`, Script{}},
		{"empty", `{"emulate":{}}`, Script{}},
		{"null", `{"emulate":null}`, Script{}},
		{"not an object", `{"emulate":"fail"}`, Script{}},
		{"nested deeper", `{"input":{"emulate":{"fail":"500"}}}`, Script{}},
		// Half a script would be another fault than the one asked for.
		{"a field of another type", `{"emulate":{"submit":"reset_before","run_ms":"soon"}}`, Script{}},
		{"no body", ``, Script{}},
		{"no JSON", `prompt=x`, Script{}},
		{"cut off", `{"emulate":{"fail":"500"}`, Script{}},
		{"an array", `[{"emulate":{"fail":"500"}}]`, Script{}},
	} {
		if got := ReadScript([]byte(row.body)); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}

func TestPaceOfScript(t *testing.T) {
	p := Speed{Queue: time.Second, Run: 2 * time.Second, Position: 4}
	for _, row := range []struct {
		name   string
		script Script
		want   Speed
	}{
		{"silent", Script{Fail: "500"}, p},
		{"queue", Script{QueueMS: new(5)}, Speed{5 * time.Millisecond, 2 * time.Second, 4}},
		{"run", Script{RunMS: new(7)}, Speed{time.Second, 7 * time.Millisecond, 4}},
		{"position", Script{Position: new(1)}, Speed{time.Second, 2 * time.Second, 1}},
		{"zero is said, not silent", Script{QueueMS: new(0), RunMS: new(0), Position: new(0)}, Speed{}},
	} {
		if got := p.Of(row.script); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
	if s := SandboxSpeed(); s.Queue+s.Run != 5*time.Second || s.Position <= 0 {
		t.Errorf("the sandbox takes %v from place %d, want 5s from a place in line", s.Queue+s.Run, s.Position)
	}
}

// A member that is misspelt would be another fault than the one asked for: none.
func TestCheckScript(t *testing.T) {
	for script, ok := range map[string]bool{
		`{}`: true, `{"result":"500","result_faults":2}`: true, `{"reslut":"500"}`: false, `{"run_ms":"soon"}`: false,
	} {
		if err := CheckScript([]byte(script)); (err == nil) != ok {
			t.Errorf("%s: %v", script, err)
		}
	}
}
