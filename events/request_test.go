package events_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
)

// request returns a valid request with more members.
func request(members ...string) string {
	return `{"provider":"fal","model":"m","input":{}` + strings.Join(append([]string{""}, members...), ",") + `}`
}

const tokenRule = "must be 1 to 64 characters of A-Z a-z 0-9 _ -"

func TestDecodeRequest(t *testing.T) {
	for _, row := range []struct{ name, data, want string }{
		{"least", request(), ""},
		{"white space around", " \r\n\t" + request() + "\n", ""},
		{"null is left out", request(`"id":null`, `"timeout":null`, `"metadata":null`, `"priority":null`), ""},

		{"nothing", ``, "payload: bad JSON: it ends too early"},
		{"white space", ` `, "payload: bad JSON: it ends too early"},
		{"no JSON", `provider=fal`, "payload: bad JSON: *"},
		{"array", `[{}]`, "payload: must be a JSON object"},
		{"string", `"x"`, "payload: must be a JSON object"},
		{"null", `null`, "payload: must be a JSON object"},
		{"cut off after the brace", `{`, "payload: bad JSON: it ends too early"},
		{"cut off in a name", `{"prov`, "payload: bad JSON: it ends too early"},
		{"cut off in a value", `{"provider":"f`, "provider: bad JSON: it ends too early"},
		{"cut off in the input", `{"provider":"fal","input":{"prompt":`, "input: bad JSON: it ends too early"},
		{"cut off before the end", strings.TrimSuffix(request(), "}"), "payload: bad JSON: it ends too early"},
		{"name without quotes", `{provider:"fal"}`, "payload: bad JSON: *"},
		{"bad value", `{"provider":fal}`, "provider: bad JSON: *"},
		{"bad input", `{"input":{"a":01}}`, "input: bad JSON: *"},
		{"trailing comma", `{"provider":"fal",}`, "payload: bad JSON: *"},
		{"closed by a bracket", `{"provider":"fal"]`, "payload: bad JSON: *"},
		{"text behind", request() + `x`, "payload: has text after the JSON object"},
		{"another object behind", request() + `{}`, "payload: has text after the JSON object"},
		{"a byte order mark", "\ufeff" + request(), "payload: bad JSON: *"},
		{"invalid UTF-8", request(`"scene_id":"` + "\xff" + `"`), "payload: bad JSON: it is not UTF-8 text"},
		{
			"invalid UTF-8 in the input", `{"provider":"fal","model":"m","input":{"prompt":"` + "\xc3" + `"}}`,
			"payload: bad JSON: it is not UTF-8 text",
		},
		{"deeper than anybody needs", `{"input":` + strings.Repeat("[", 20_000), "input: bad JSON: *"},

		{"unknown field", request(`"promt":"x"`), "promt: unknown field"},
		{"another case is another field", request(`"Priority":1`), "Priority: unknown field"},
		{"task_type belongs to the subject", request(`"task_type":"video"`), "task_type: unknown field"},
		{"field without a name", request(`"":1`), ": unknown field"},
		{"field twice", request(`"model":"n"`), "model: is given twice"},
		{"input twice", request(`"input":{}`), "input: is given twice"},
		{"field twice as null", request(`"id":null`, `"id":"a"`), "id: is given twice"},

		{"id: type", request(`"id":1`), "id: must be a string, not number"},
		{"provider: type", `{"provider":["fal"]}`, "provider: must be a string, not array"},
		{"model: type", `{"model":{}}`, "model: must be a string, not object"},
		{"scene_id: type", request(`"scene_id":7`), "scene_id: must be a string, not number"},
		{"priority: type", request(`"priority":"high"`), "priority: must be a whole number, not string"},
		{"priority: fraction", request(`"priority":1.5`), "priority: must be a whole number, not number 1.5"},
		{"priority: exponent", request(`"priority":1e1`), "priority: must be a whole number, not number 1e1"},
		{
			"priority: huge", request(`"priority":99999999999999999999`),
			"priority: must be a whole number, not number 99999999999999999999",
		},
		{"timeout: bare number", request(`"timeout":30`), `timeout: 30 is not a duration string such as "30m"`},
		{"timeout: bool", request(`"timeout":true`), `timeout: true is not a duration string such as "30m"`},
		{"timeout: no unit", request(`"timeout":"30"`), `timeout: "30" is not a duration such as "90s", "30m" or "1h30m"`},
		{
			"timeout: words", request(`"timeout":"half an hour"`),
			`timeout: "half an hour" is not a duration such as "90s", "30m" or "1h30m"`,
		},
		{
			"start_timeout: bare number", request(`"start_timeout":1.5`),
			`start_timeout: 1.5 is not a duration string such as "30m"`,
		},
		{"on_in_doubt: type", request(`"on_in_doubt":1`), "on_in_doubt: must be a string, not number"},
		{
			"max_paid_attempts: type", request(`"max_paid_attempts":"2"`),
			"max_paid_attempts: must be a whole number, not string",
		},
		{"estimated_cost_usd: type", request(`"estimated_cost_usd":"1"`), "estimated_cost_usd: must be a number, not string"},
		{"max_cost_usd: type", request(`"max_cost_usd":[1]`), "max_cost_usd: must be a number, not array"},
		{"max_cost_usd: NaN is no JSON", request(`"max_cost_usd":NaN`), "max_cost_usd: bad JSON: *"},
		{"max_cost_usd: beyond a float", request(`"max_cost_usd":1e999`), "max_cost_usd: must be a number, not number 1e999"},
		{"metadata: type", request(`"metadata":["a"]`), "metadata: must be an object of strings, not array"},
		{
			"metadata: value type", request(`"metadata":{"take":3}`),
			"metadata: must be an object of strings, but holds another value: number",
		},
		{
			"metadata: nested", request(`"metadata":{"a":{"b":"c"}}`),
			"metadata: must be an object of strings, but holds another value: object",
		},

		{"provider missing", `{"model":"m","input":{}}`, "provider: is missing"},
		{"provider null", `{"provider":null,"model":"m","input":{}}`, "provider: is missing"},
		{"model missing", `{"provider":"fal","input":{}}`, "model: is missing"},
		{"input missing", `{"provider":"fal","model":"m"}`, "input: is missing; a request has either input or want"},
		{
			"input null", `{"provider":"fal","model":"m","input":null}`,
			"input: is missing; a request has either input or want",
		},
		{"everything missing", `{}`, "provider: is missing"},
		{"input an array", `{"provider":"fal","model":"m","input":[1]}`, "input: must be a JSON object"},
		{"input a string", `{"provider":"fal","model":"m","input":"a heron"}`, "input: must be a JSON object"},

		{"id with a dot", request(`"id":"a.b"`), "id: " + tokenRule},
		{"id with a wildcard", request(`"id":"*"`), "id: " + tokenRule},
		{"id with a line break", request(`"id":"a\n"`), "id: " + tokenRule},
		{"id not ASCII", request(`"id":"é"`), "id: " + tokenRule},
		{"provider with a blank", `{"provider":"fal ai","model":"m","input":{}}`, "provider: " + tokenRule},
		{"on_in_doubt: unknown word", request(`"on_in_doubt":"retry"`), `on_in_doubt: "retry" is not hold, fail or resubmit`},
		{"keep: unknown word", request(`"keep":"always"`), `keep: "always" is not required`},
		{"keep", request(`"keep":"required"`), ""},
		{"metadata: empty key", request(`"metadata":{"":"x"}`), `metadata: key "" must be 1 to 64 bytes`},
		{
			"start_timeout over timeout", request(`"timeout":"1m"`, `"start_timeout":"61s"`),
			"start_timeout: 1m1s is longer than the timeout of 1m0s",
		},
		{"start_timeout as long as timeout", request(`"timeout":"1m"`, `"start_timeout":"60s"`), ""},
		{"start_timeout alone", request(`"start_timeout":"2h"`), ""},
		{"negative timeout", request(`"timeout":"-1s"`), "timeout: -1s is not between 1s and 48h0m0s"},
		{"batch with a dot", request(`"batch_id":"a.b"`), "batch_id: must be 1 to 64 characters of A-Z a-z 0-9 _ -"},
		{"batch size without a batch", request(`"batch_size":3`), "batch_size: belongs to a batch_id only"},
		{"negative batch size", request(`"batch_id":"b"`, `"batch_size":-1`), "batch_size: -1 is not between 1 and 100000"},
		{
			"batch size over the limit", request(`"batch_id":"b"`, `"batch_size":100001`),
			"batch_size: 100001 is not between 1 and 100000",
		},
		{"negative cost", request(`"max_cost_usd":-0.01`), "max_cost_usd: -0.01 is not between 0 and 1e+06 US dollars"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := events.DecodeRequest([]byte(row.data))
			wantFieldError(t, err, row.want)
		})
	}
}

// TestDecodeWant: what is wanted is checked field by field, whatever the model, and needs neither provider nor model.
func TestDecodeWant(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, row := range []struct{ name, data, want string }{
		{"least", `{"want":{}}`, ""},
		{"null is left out", request(`"want":null`, `"lenient":null`), ""},
		{"a model without a provider", `{"model":"kling-v3","want":{"prompt":"p"},"lenient":true}`, ""},
		{"a seed of zero", `{"want":{"seed":0,"audio":false}}`, ""},
		{"a data URL", `{"want":{"image":"data:image/png;base64,AA=="}}`, ""},
		{"with an input", request(`"want":{}`), "want: a request has either input or want, not both"},
		{"lenient with an input", request(`"lenient":true`), "lenient: belongs to want only"},
		{"lenient: type", `{"want":{},"lenient":"yes"}`, "lenient: must be true or false, not string"},
		{"not an object", `{"want":"a heron"}`, "want: must be a JSON object"},
		{"unknown field", `{"want":{"promt":"x"}}`, "want.promt: unknown field"},
		{"field twice", `{"want":{"seed":1,"seed":2}}`, "want.seed: is given twice"},
		{"half a character", `{"want":{"prompt":"\ud83e"}}`, `want: has half of a character, \ud83e alone, at byte 11`},
		{"duration: with a unit", `{"want":{"duration":"5s"}}`, "want.duration: must be a number, not string"},
		{"duration: negative", `{"want":{"duration":-1}}`, "want.duration: -1 is not between 0 and 3600 seconds"},
		{"duration: too long", `{"want":{"duration":3600.5}}`, "want.duration: 3600.5 is not between 0 and 3600 seconds"},
		{"seed: fraction", `{"want":{"seed":1.5}}`, "want.seed: must be a whole number, not number 1.5"},
		{"audio: type", `{"want":{"audio":"on"}}`, "want.audio: must be true or false, not string"},
		{"references: type", `{"want":{"references":"u"}}`, "want.references: must be a list of strings, not string"},
		{"references: empty", `{"want":{"references":[""]}}`, "want.references: has an empty one"},
		{
			"references: too many", `{"want":{"references":[""` + strings.Repeat(`,""`, events.MaxWantReferences) + `]}}`,
			"want.references: 17 are over the limit of 16",
		},
		{"image: a path", `{"want":{"image":"/tmp/a.png"}}`, `want.image: "/tmp/a.png" is not an http, https or data URL, nor the name of a file that was handed in, nor s3:// or azblob:// of an object`},
		{
			"last_frame: a file of the provider's", `{"want":{"last_frame":"mm_file://1"}}`,
			`want.last_frame: "mm_file://1" is not an http, https or data URL, nor the name of a file that was handed in, nor s3:// or azblob:// of an object`,
		},
		{
			"references: no host", `{"want":{"references":["https:///a"]}}`,
			`want.references: "https:///a" is not an http, https or data URL, nor the name of a file that was handed in, nor s3:// or azblob:// of an object`,
		},
		{
			"resolution: blank", `{"want":{"resolution":"720 p"}}`,
			"want.resolution: must be 1 to 128 characters of A-Z a-z 0-9 _ . : -",
		},
		{
			"aspect_ratio: long", `{"want":{"aspect_ratio":"` + long + `"}}`,
			"want.aspect_ratio: must be 1 to 128 characters of A-Z a-z 0-9 _ . : -",
		},
		{"voice: long", `{"want":{"voice":"` + long + `"}}`, "want.voice: 129 bytes are over the limit of 128"},
		{"a reference", `{"want":{"image":{ "$from":"shot-1"},"references":[{"$from":"shot-2","output":1}]}}`, ""},
		{"a reference: no task id", `{"want":{"image":{"$from":"a.b"}}}`, "want.image[0].$from: must be a task id: *"},
		{
			"an object that is no reference", `{"want":{"voice":{"id":"x"}}}`,
			"want.voice: an object in place of a text must be a reference: it has no $from, nor the $file of a picture",
		},
		{"options: a list", `{"want":{"options":[1]}}`, "want.options: must be a JSON object"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := events.DecodeRequest([]byte(row.data))
			wantFieldError(t, err, row.want)
		})
	}
	r, err := events.DecodeRequest(
		[]byte(`{"after":["a"],"want":{"image":{"$from":"b"},"options":{"x":[{"$from":"c"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := r.Dependencies(); err != nil || strings.Join(ids, " ") != "a b c" {
		t.Errorf("depends on %v, %v", ids, err)
	}
	r = events.Request{Want: &events.Want{Duration: math.NaN()}}
	wantFieldError(t, r.Validate(), "want.duration: NaN is not between 0 and 3600 seconds")
}

// TestRequestBatch: what a request says of its batch is known whatever else is wrong with it.
func TestRequestBatch(t *testing.T) {
	const in = `"batch_id":"film","batch_size":12`
	for _, row := range []struct {
		name, data, err string
		id              string
		size            int
	}{
		{"nothing wrong", request(in), "", "film", 12},
		{"no batch", request(), "", "", 0},
		{"no size", request(`"batch_id":"film"`), "", "film", 0},
		{"unknown field before it", `{"promt":{"batch_id":"other"},` + in + `}`, "promt: unknown field", "film", 12},
		{
			"wrong type before it", `{"provider":7,"priority":1.5,` + in + `}`, "provider: must be a string, not number", "film",
			12,
		},
		{"fields missing", `{` + in + `}`, "provider: is missing", "film", 12},
		{"over the limit of a field", request(in, `"priority":101`), "priority: 101 is not between -100 and 100", "film", 12},
		{"too large", request(`"scene_id":"`+strings.Repeat("x", events.MaxRequestBytes)+`"`, in), "payload: *", "film", 12},
		{"given twice", request(in, `"batch_id":"other"`), "batch_id: is given twice", "film", 12},
		{"text behind", request(in) + `x`, "payload: has text after the JSON object", "film", 12},
		{"cut off behind it", `{` + in + `,"provider":"f`, "provider: bad JSON: it ends too early", "film", 12},
		{"broken before it", `{"provider":"f` + in, "payload: bad JSON: *", "", 0},
		{"no JSON", `batch_id=film`, "payload: bad JSON: *", "", 0},
		{"a list", `[{` + in + `}]`, "payload: must be a JSON object", "", 0},
		{"no UTF-8", request(in, "\"scene_id\":\"\xff\""), "payload: bad JSON: it is not UTF-8 text", "", 0},
		{"another case", request(`"Batch_ID":"film"`), "Batch_ID: unknown field", "", 0},
		{"id of no subject", request(`"batch_id":"fi.lm","batch_size":12`), "batch_id: " + tokenRule, "", 0},
		{"id of another type", request(`"batch_id":7,"batch_size":12`), "batch_id: must be a string, not number", "", 0},
		{
			"size of another type", request(`"batch_id":"film","batch_size":"12"`),
			"batch_size: must be a whole number, not string", "film", 0,
		},
		{
			"size over the limit", request(`"batch_id":"film","batch_size":100001`),
			"batch_size: 100001 is not between 1 and 100000", "film", 0,
		},
		{
			"negative size", request(`"batch_id":"film","batch_size":-1`), "batch_size: -1 is not between 1 and 100000", "film",
			0,
		},
	} {
		r, err := events.DecodeRequest([]byte(row.data))
		wantFieldError(t, err, row.err)
		if id, size := r.Batch(); id != row.id || size != row.size {
			t.Errorf("%s: batch %q of %d, want %q of %d", row.name, id, size, row.id, row.size)
		}
	}
}

// Each limit holds exactly: at is the last accepted value, of(n) a request with it, and over what the next is told.
func TestRequestLimits(t *testing.T) {
	text := func(field string) func(int) string {
		return func(n int) string {
			if field == "model" {
				return `{"provider":"fal","input":{},"model":"` + strings.Repeat("m", n) + `"}`
			}
			return request(`"` + field + `":"` + strings.Repeat("x", n) + `"`)
		}
	}
	number := func(field string) func(int) string {
		return func(n int) string { return request(`"` + field + `":` + strconv.Itoa(n)) }
	}
	seconds := func(field string) func(int) string {
		return func(n int) string { return request(`"` + field + `":"` + strconv.Itoa(n) + `s"`) }
	}
	for _, row := range []struct {
		name string
		at   int
		step int // to the other side of the limit
		of   func(int) string
		over string
	}{
		{"payload", events.MaxRequestBytes, 1, func(n int) string {
			return request() + strings.Repeat(" ", n-len(request()))
		}, "payload: 983041 bytes are over the limit of 983040"},
		{"id", events.MaxTokenBytes, 1, text("id"), "id: " + tokenRule},
		{"model", events.MaxModelBytes, 1, text("model"), "model: 201 bytes are over the limit of 200"},
		{"scene_id", events.MaxSceneBytes, 1, text("scene_id"), "scene_id: 129 bytes are over the limit of 128"},
		{"priority", events.MaxPriority, 1, number("priority"), "priority: 101 is not between -100 and 100"},
		{"priority below", -events.MaxPriority, -1, number("priority"), "priority: -101 is not between -100 and 100"},
		{
			"max_paid_attempts", events.MaxPaidAttempts, 1, number("max_paid_attempts"),
			"max_paid_attempts: 11 is not between 1 and 10",
		},
		{"max_paid_attempts below", 0, -1, number("max_paid_attempts"), "max_paid_attempts: -1 is not between 1 and 10"},
		{
			"timeout", int(events.MaxTimeout / time.Second), 1, seconds("timeout"),
			"timeout: 48h0m1s is not between 1s and 48h0m0s",
		},
		{"timeout below, in milliseconds", int(events.MinTimeout / time.Millisecond), -1, func(n int) string {
			return request(`"timeout":"` + strconv.Itoa(n) + `ms"`)
		}, "timeout: 999ms is not between 1s and 48h0m0s"},
		{
			"start_timeout", int(events.MaxTimeout / time.Second), 1, seconds("start_timeout"),
			"start_timeout: 48h0m1s is not between 1s and 48h0m0s",
		},
		{
			"estimated_cost_usd", 1_000_000, 1, number("estimated_cost_usd"),
			"estimated_cost_usd: 1.000001e+06 is not between 0 and 1e+06 US dollars",
		},
		{
			"max_cost_usd", 1_000_000, 1, number("max_cost_usd"),
			"max_cost_usd: 1.000001e+06 is not between 0 and 1e+06 US dollars",
		},
		{"metadata", events.MaxMetadata, 1, func(n int) string {
			entries := make([]string, n)
			for i := range entries {
				entries[i] = `"k` + strconv.Itoa(i) + `":""`
			}
			return request(`"metadata":{` + strings.Join(entries, ",") + `}`)
		}, "metadata: 33 entries are over the limit of 32"},
		{"metadata key", events.MaxMetadataKey, 1, func(n int) string {
			return request(`"metadata":{"` + strings.Repeat("k", n) + `":"v"}`)
		}, `metadata: key "` + strings.Repeat("k", 65) + `" must be 1 to 64 bytes`},
		{"metadata value", events.MaxMetadataValue, 1, func(n int) string {
			return request(`"metadata":{"take":"` + strings.Repeat("v", n) + `"}`)
		}, "metadata.take: 513 bytes are over the limit of 512"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, n := range []int{row.at - row.step, row.at} {
				_, err := events.DecodeRequest([]byte(row.of(n)))
				wantFieldError(t, err, "")
			}
			_, err := events.DecodeRequest([]byte(row.of(row.at + row.step)))
			wantFieldError(t, err, row.over)
		})
	}
}

// A Go client may build what JSON cannot say.
func TestValidateRefusesWhatIsNoNumber(t *testing.T) {
	for name, usd := range map[string]float64{"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1)} {
		r := fullRequest()
		r.EstimatedUSD = usd
		wantFieldError(t, r.Validate(), "estimated_cost_usd: "+name+" is not between 0 and 1e+06 US dollars")
		r = fullRequest()
		r.MaxCostUSD = usd
		wantFieldError(t, r.Validate(), "max_cost_usd: "+name+" is not between 0 and 1e+06 US dollars")
	}
}

// What a provider gets is what the user wrote: a number that no float64 holds, a spelling that a decoder would
// normalise, a member given twice, white space, escapes.
func TestInputSurvivesByteForByte(t *testing.T) {
	const input = `{ "seed":12345678901234567890123, "cfg": 1.0,"tiny":1e-400 ,"zero":-0, "big":1E+2,
		"text":"\u003ca> & \u2028 \ud83e\udd16 é","a":1,"a":2 }`
	r, err := events.DecodeRequest([]byte(`{"provider":"fal","model":"m","input": ` + input + ` }`))
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Input) != input {
		t.Fatalf("decoded\n%s\nwant\n%s", r.Input, input)
	}
	// A record holds it as compact JSON: white space between tokens goes, every token stays.
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(input)); err != nil {
		t.Fatal(err)
	}
	record := fullTask()
	record.Input = r.Input
	back, err := events.DecodeTask(mustMarshal(t, record))
	if err != nil {
		t.Fatal(err)
	}
	if string(back.Input) != compact.String() {
		t.Errorf("the record holds\n%s\nwant\n%s", back.Input, compact.String())
	}
}

// The answer to a bad request is a rejection under its id, where the id could be read.
func TestDecodeRequestReturnsTheIDOfABadRequest(t *testing.T) {
	for name, data := range map[string]string{
		"over a limit":  request(`"id":"shot-1"`, `"priority":1000`),
		"unknown field": request(`"id":"shot-1"`, `"promt":1`),
		"cut off":       `{"id":"shot-1","input":{`,
	} {
		if r, err := events.DecodeRequest([]byte(data)); err == nil || r.ID != "shot-1" {
			t.Errorf("%s: id %q, error %v, want shot-1 and an error", name, r.ID, err)
		}
	}
}

// What a stranger wrote comes back in an error that is stored, sent in a header and logged: however long it is, the
// error is short, and it has no control characters.
func TestErrorsOfHostileRequestsAreBounded(t *testing.T) {
	long := strings.Repeat("9", events.MaxRequestBytes-200)
	for name, data := range map[string]string{
		"unknown field":        request(`"` + long + `":1`),
		"wide unknown field":   request(`"` + strings.Repeat("é", 300_000) + `":1`),
		"control characters":   request(`"a\r\nNats-Service-Error: none\u0000\u009b":1`),
		"huge number":          request(`"priority":` + long),
		"huge duration":        request(`"timeout":` + long),
		"huge duration text":   request(`"timeout":"` + long + `"`),
		"huge policy":          request(`"on_in_doubt":"` + long + `"`),
		"quoting makes longer": request(`"on_in_doubt":"` + strings.Repeat(`\u0001`, 100_000) + `"`),
		"huge metadata key":    request(`"metadata":{"` + long + `":1}`),
	} {
		_, err := events.DecodeRequest([]byte(data))
		wantBounded(t, name, err)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "0s": 0,
		"1.5s": 1500 * time.Millisecond,
	} {
		var d events.Duration
		if err := json.Unmarshal([]byte(`"`+text+`"`), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: read as %v, %v, want %v", text, time.Duration(d), err, want)
		}
	}
	if got := string(mustMarshal(t, events.Duration(90*time.Minute))); got != `"1h30m0s"` {
		t.Errorf("written as %s", got)
	}
}

func TestRequestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genRequest().Draw(t, "request")
		got, err := events.DecodeRequest(mustMarshal(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read\n%+v\nwant\n%+v", got, want)
		}
	})
}

func genToken() *rapid.Generator[string] { return rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`) }

func genRequest() *rapid.Generator[events.Request] {
	return rapid.Custom(func(t *rapid.T) events.Request {
		timeout := rapid.Int64Range(0, 48*3600).Draw(t, "timeout")
		start := rapid.Int64Range(0, 48*3600).Draw(t, "start timeout")
		if timeout > 0 {
			start = min(start, timeout)
		}
		r := events.Request{
			ID: rapid.OneOf(rapid.Just(""), genToken()).Draw(t, "id"), Provider: genToken().Draw(t, "provider"),
			Model:   rapid.StringN(1, 50, 200).Draw(t, "model"),
			Input:   json.RawMessage(mustMarshal(t, genObject().Draw(t, "input"))),
			SceneID: rapid.StringN(0, 32, 128).Draw(t, "scene"), Priority: rapid.IntRange(-100, 100).Draw(t, "priority"),
			Timeout:      events.Duration(timeout) * events.Duration(time.Second),
			StartTimeout: events.Duration(start) * events.Duration(time.Second),
			OnInDoubt: rapid.SampledFrom([]events.InDoubtPolicy{
				"", events.InDoubtHold, events.InDoubtFail, events.InDoubtResubmit,
			}).Draw(t, "policy"),
			MaxPaidAttempts: rapid.IntRange(0, 10).Draw(t, "attempts"),
			EstimatedUSD:    rapid.Float64Range(0, 1e6).Draw(t, "estimate"),
			MaxCostUSD:      rapid.Float64Range(0, 1e6).Draw(t, "budget"),
		}
		if m := rapid.MapOfN(rapid.StringN(1, 16, 64), rapid.StringN(0, 128, 512), 0, 32).Draw(t, "metadata"); len(m) > 0 {
			r.Metadata = m
		}
		return r
	})
}

func TestHalfCharactersAreRefused(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{`cut \ud83e`, `input: has half of a character, \ud83e alone, at byte 15`},
		{`cut \uDD16 x`, `input: has half of a character, \uDD16 alone, at byte 15`},
		{`\ud83e\ud83e\udd16`, `input: has half of a character, \ud83e alone, at byte 11`},
		{`\ud83e\n`, `input: has half of a character, \ud83e alone, at byte 11`},
		{`\ud83e\udd16 \\ud83e \u00e9`, ""},
	} {
		_, err := events.DecodeRequest([]byte(`{"provider":"fal","model":"m","input":{"prompt":"` + row.text + `"}}`))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.text, got, row.want)
		}
	}
	_, err := events.DecodeRequest([]byte("\ufeff{}"))
	if want := "payload: bad JSON: it begins with a byte order mark (EF BB BF); save it as UTF-8 without one"; err == nil ||
		err.Error() != want {
		t.Errorf("a byte order mark: %v, want %q", err, want)
	}
}
