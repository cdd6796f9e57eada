package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/proxy"
)

// attack is one case of the catalogue, in bytes. TOKEN stands for alice's.
type attack struct {
	id    string
	bytes string
	// want is the code of the gateway's refusal; or "net/http", which answers
	// what it cannot read by itself, 4xx or 5xx, and ends the connection; or the
	// target that the upstream sees, when the request passes.
	want string
}

// attacked is a bench that remembers what it told attackers.
type attacked struct {
	*bench
	upstream *script
	token    string
	refusals map[string]string // trace id → code
	benign   int
}

func newAttacked(t *testing.T) *attacked {
	b, upstream := newScriptBench(t, mirror)
	return &attacked{bench: b, upstream: upstream, token: b.token(t, "alice"), refusals: map[string]string{}}
}

// reached counts the requests at all upstreams, without those that are found to
// be malformed when a part of them may be there already.
func (a *attacked) reached() int {
	whole := slices.DeleteFunc(a.upstream.requests(), func(head string) bool { return strings.Contains(head, " /malformed ") })
	return len(whole) + len(a.u1.requests()) + len(a.u2.requests())
}

// run plays the cases on both listeners.
func (a *attacked) run(t *testing.T, cases []attack) {
	for _, c := range cases {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %.60q tls=%v", c.id, c.bytes, secure), func(t *testing.T) { a.play(t, c, secure) })
		}
	}
}

func (a *attacked) play(t *testing.T, c attack, secure bool) {
	before := a.reached()
	conn := a.raw(t, secure)
	conn.send(strings.ReplaceAll(c.bytes, "TOKEN", a.token))
	method, _, _ := strings.Cut(c.bytes, " ")
	res, body, err := conn.answer(method)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	passes := 0
	switch {
	case strings.HasPrefix(c.want, "/"):
		passes = 1
		if got, _, _ := strings.Cut(body, "|"); res.StatusCode != 200 || got != c.want {
			t.Errorf("the upstream saw %q, want %q (status %d)", got, c.want, res.StatusCode)
		}
	case c.want == "net/http":
		if res.StatusCode < 400 || res.Header.Get("X-Request-Id") != "" || !res.Close {
			t.Errorf("net/http answered %d %q", res.StatusCode, body)
		}
	default:
		a.told(t, res, body, method, c.want)
	}
	if n := a.reached() - before; n != passes {
		t.Errorf("upstreams were reached %d times", n)
	}
	a.follow(t, conn, secure, res.Close)
}

// told checks a refusal and remembers it.
func (a *attacked) told(t *testing.T, res *http.Response, body, method, code string) {
	t.Helper()
	status := 0
	for _, r := range proxy.Refusals() {
		if r.Code == code {
			status = r.Status
		}
	}
	if method == "HEAD" {
		body = fmt.Sprintf(`{"code": %q, "trace_id": %q}`, code, res.Header.Get("X-Request-Id"))
	}
	refused(t, res, body, status, code)
	var problem struct {
		TraceID string `json:"trace_id"`
	}
	json.Unmarshal([]byte(body), &problem)
	if _, twice := a.refusals[problem.TraceID]; twice {
		t.Errorf("two requests are one trace, %s", problem.TraceID)
	}
	a.refusals[problem.TraceID] = code
}

// follow sends a request by somebody else after an attack: on the same
// connection, unless that was to end, and on another one.
func (a *attacked) follow(t *testing.T, conn *raw, secure, ends bool) {
	t.Helper()
	if ends {
		if rest := conn.ends(); rest != "" {
			t.Errorf("after the end came %q", rest)
		}
		conn = a.raw(t, secure)
	}
	for range 2 {
		a.benign++
		mine := fmt.Sprintf("/benign/%d", a.benign)
		conn.send(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer %s\r\n\r\n", mine, a.token))
		res, body, err := conn.answer("GET")
		if err != nil || res.StatusCode != 200 || body != mine+"|" {
			t.Errorf("a benign request got %v %q %v", res, body, err)
		}
		conn = a.raw(t, secure)
	}
}

// recorded checks that each refusal is in exactly one record, with its code and
// trace id; those of a flood are counted together.
func (a *attacked) recorded(t *testing.T) {
	t.Helper()
	want, got := map[string]int{}, map[string]int{}
	for _, code := range a.refusals {
		want[code]++
	}
	singles := map[string]bool{}
	for _, e := range a.records(t) {
		if e.Kind != audit.KindRefusal && (e.Kind != audit.KindOutcome || e.Code == "completed") {
			continue
		}
		got[e.Code] += max(1, int(e.Count))
		if e.Count > 0 {
			continue
		}
		if singles[e.Trace] || a.refusals[e.Trace] != e.Code {
			t.Errorf("recorded: %+v, told %q", e, a.refusals[e.Trace])
		}
		singles[e.Trace] = true
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("recorded %v, told %v", got, want)
	}
}

// line is a request to the mirror with this target; host is a request for /x
// with this Host line.
func line(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer TOKEN\r\n\r\n"
}

func host(field string) string {
	return "GET /x HTTP/1.1\r\n" + field + "Authorization: Bearer TOKEN\r\n\r\n"
}

// with is a request to the mirror with these fields, each with its line end.
func with(fields string) string {
	return "GET /x HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer TOKEN\r\n" + fields + "\r\n"
}
