package minimax_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/provider"
)

// Columns of the table of refusals: who answers, and with which sort of code.
const (
	colBalance  = iota // 1008, a refusal
	colInput           // 1026, the same for moderation
	colRate            // 1002, the same for pace
	colOverload        // 2064, the same for load
	colOutput          // 1027, which no create is answered with
	colBroke           // 1000, which proves nothing
	colNew             // 7777, which nobody knows
	colPage            // no code: a proxy's page
	columns
)

const (
	dbt  = events.KindAmbiguous
	rate = events.KindRateLimited
	quo  = events.KindQuota
	mod  = events.KindModeration
	aut  = events.KindAuth
	bad  = events.KindInvalid
	addr = events.KindAddress
)

// table is what each HTTP status means with each column: the kind of the refusal, KindAmbiguous for in doubt. A status
// that is not here is in doubt in every column.
var table = []struct {
	statuses []int
	want     [columns]events.Kind
}{
	{[]int{200, 201, 202, 204, 206, 299}, [columns]events.Kind{quo, mod, rate, rate, dbt, dbt, dbt, dbt}},
	{[]int{301, 302, 307, 308, 407}, [columns]events.Kind{addr, addr, addr, addr, addr, addr, addr, addr}},
	{[]int{401, 403}, [columns]events.Kind{quo, mod, rate, rate, dbt, dbt, aut, addr}},
	{[]int{402}, [columns]events.Kind{quo, mod, rate, rate, dbt, dbt, quo, quo}},
	{[]int{404, 405, 410}, [columns]events.Kind{quo, mod, rate, rate, dbt, dbt, bad, addr}},
	{[]int{413, 414, 431}, [columns]events.Kind{quo, mod, rate, rate, dbt, dbt, bad, bad}},
	{
		[]int{400, 406, 411, 415, 417, 421, 422, 423, 425, 428, 430, 451},
		[columns]events.Kind{quo, mod, rate, rate, dbt, dbt, bad, bad},
	},
	{[]int{429}, [columns]events.Kind{quo, mod, rate, rate, rate, rate, rate, rate}},
	{[]int{503}, [columns]events.Kind{dbt, dbt, rate, rate, dbt, dbt, dbt, dbt}},
	{[]int{529}, [columns]events.Kind{dbt, dbt, rate, rate, dbt, dbt, rate, dbt}},
}

func TestClassifyTable(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://localhost")
	codes := [columns]int{1008, 1026, 1002, 2064, 1027, 1000, 7777, 0}
	all := statuses()
	for _, row := range table {
		all = append(all, row.statuses...)
	}
	slices.Sort(all)
	for _, status := range slices.Compact(all) {
		want := slices.Repeat([]events.Kind{dbt}, columns)
		for _, row := range table {
			if slices.Contains(row.statuses, status) {
				want = row.want[:]
			}
		}
		for column, kind := range want {
			bodies := []string{v1Body(codes[column], "own words"), v2Body(codes[column], "own words")}
			if column == colPage {
				bodies = []string{"<html><body><h1>own words</h1></body></html>", "own words", `{"message":"own words"}`}
			}
			for _, body := range bodies {
				for _, model := range []string{modelV1, modelV2} {
					checkCell(t, d.Classify(model, nil, provider.Reply{
						Status: status, Body: []byte(body), Header: map[string][]string{"Retry-After": {"7"}},
					}), kind, fmt.Sprintf("%s %d %s", model, status, body))
				}
			}
		}
	}
}

func checkCell(t *testing.T, a provider.Answer, kind events.Kind, what string) {
	t.Helper()
	outcome, charge := provider.Refused, events.ChargeNone
	if kind == dbt {
		outcome, charge = provider.InDoubt, events.ChargePossible
	}
	if a.Outcome != outcome || a.Err == nil || a.Err.Kind != kind || a.Err.Charge != charge || a.ID != "" || a.Ref != nil {
		t.Errorf("%s: %s %+v, want %s %s", what, a.Outcome, a.Err, outcome, kind)
		return
	}
	if (kind == dbt) != (len(a.Body) > 0) {
		t.Errorf("%s: body %q", what, a.Body)
	}
	if !strings.Contains(a.Err.Message, "own words") {
		t.Errorf("%s: %q lacks the words", what, a.Err.Message)
	}
	if kind == rate && a.Err.RetryAfter.Seconds() != 7 {
		t.Errorf("%s: retry after %v", what, a.Err.RetryAfter)
	}
	if kind == addr && !strings.Contains(a.Err.Message, "base URL") {
		t.Errorf("%s: %q does not speak of the base URL", what, a.Err.Message)
	}
}

// TestClassifyForms has refusals in the forms in which they were seen.
func TestClassifyForms(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://localhost")
	for _, row := range []struct {
		name   string
		status int
		body   string
		kind   events.Kind
		words  string
	}{
		{
			"a proxy's 429", 429, "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n<body>\r\n<center>" +
				"<h1>429 Too Many Requests</h1></center>\r\n<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n",
			rate, "HTTP 429: 429 Too Many Requests openresty",
		},
		{"429 without a body", 429, "", rate, "HTTP 429"},
		{
			"overloaded", 529, `{"type":"error","error":{"type":"overloaded_error","message":"high load (2064)"}}`,
			rate, "high load",
		},
		{
			"overloaded without a code", 529, `{"type":"error","error":{"type":"overloaded_error","message":"high load"}}`,
			rate, "high load",
		},
		{"a server error without a code", 500, `{"type":"error","error":{"type":"server_error","message":"no"}}`, dbt, "no"},
		{"a refusal without a code", 400, `{"type":"error","error":{"message":"no such size"}}`, bad, "no such size"},
		{
			"forbidden in its own envelope", 403, `{"type":"error","error":{"type":"permission_error","message":"not yours"}}`,
			aut, "not yours",
		},
		{
			"base_resp under 200", 200, `{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`, quo,
			"insufficient balance",
		},
		{"an error under 200", 200, `{"error":{"code":"1026","message":"input new_sensitive"}}`, mod, "new_sensitive"},
		{"a code that is a number", 200, `{"error":{"code":1026,"message":"input new_sensitive"}}`, mod, "new_sensitive"},
		{"a stranger's moderation", 400, `{"error":{"message":"blocked by the content policy"}}`, mod, "content policy"},
		{"too large", 413, "<html><title>413</title><h1>Request Entity Too Large</h1>", bad, "a proxy before MiniMax"},
		{"detail", 422, `{"detail":[{"msg":"field required"}]}`, bad, "field required"},
	} {
		for _, model := range []string{modelV1, modelV2} {
			a := d.Classify(model, nil, provider.Reply{Status: row.status, Body: []byte(row.body)})
			if a.Err == nil || a.Err.Kind != row.kind || !strings.Contains(a.Err.Message, row.words) {
				t.Errorf("%s, %s: %s %+v, want %s with %q", model, row.name, a.Outcome, a.Err, row.kind, row.words)
			}
		}
	}
	a := d.Classify(modelV2, nil, provider.Reply{
		Status: 308, Header: map[string][]string{"Location": {"https://u:hush@elsewhere.test/v2?token=hush"}},
	})
	if a.Err == nil || !strings.Contains(a.Err.Message, "https://elsewhere.test/v2)") {
		t.Errorf("%+v does not tell where the redirect leads, or tells too much", a.Err)
	}
	a = d.Classify(modelV1, nil, provider.Reply{Status: 500, Body: []byte(`{"you sent":"` + testKey + `"}`)})
	if string(a.Body) != `{"you sent":"[redacted]"}` {
		t.Errorf("kept %s, want the answer without the key", a.Body)
	}
}

// TestClassifyIDs finds the id where gateways put it.
func TestClassifyIDs(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://localhost")
	for body, want := range map[string]string{
		`{"data":{"task_id":"17"}}`:                       "17",
		`{"data":{"id":17}}`:                              "17",
		`{"id":"17"}`:                                     "17",
		`{"task":{"id":"17"}}`:                            "17",
		`{"taskId":"17"}`:                                 "17",
		`{"requestId":"17"}`:                              "17",
		`{"task_id":"17","id":"18"}`:                      "17",
		`{"task_id":"a:b;c.d~e@f"}`:                       "a:b;c.d~e@f",
		`{"task_id":"..x"}`:                               "",
		`{"task_id":"a/b"}`:                               "",
		`{"id":"trace","base_resp":{"status_code":1008}}`: "",
		`{"id":"trace","error":{"code":"1008"}}`:          "",
		`{"request_id":"17"}`:                             "",
		`{"task_id":"` + taskID + `","base_resp":{"status_code":1002}}`:          taskID,
		`{"task_id":9223372036854775807,"base_resp":{"status_code":"0"},"id":1}`: "9223372036854775807",
	} {
		for _, model := range []string{modelV1, modelV2} {
			a := d.Classify(model, nil, provider.Reply{Status: 200, Body: []byte(body)})
			if a.ID != want || (a.Outcome == provider.Accepted) != (want != "") {
				t.Errorf("%s %s: %s %q, want %q", model, body, a.Outcome, a.ID, want)
			}
		}
	}
}
