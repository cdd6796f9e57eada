package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, ", ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

// call is what the flags of a request say.
type call struct {
	token, method, data, host, on, jar string
	page                               bool
	headers                            list
	bytes                              int
}

const callUsage = "[-token VAR] [-jar JAR] [-page] [-method M] [-header 'K: V'] [-data TEXT] [-bytes N] [-host HOST] [-on CONN]"

func (c *call) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&c.token, "token", "", "")
	flags.StringVar(&c.method, "method", "", "")
	flags.StringVar(&c.data, "data", "", "")
	flags.IntVar(&c.bytes, "bytes", 0, "")
	flags.StringVar(&c.host, "host", "", "")
	flags.StringVar(&c.on, "on", "", "")
	flags.StringVar(&c.jar, "jar", "", "")
	flags.BoolVar(&c.page, "page", false, "")
	flags.Var(&c.headers, "header", "")
	return flags
}

// request makes the request; a URL that begins with / is of the gateway.
func (c *call) request(ctx context.Context, ts *testscript.TestScript, url string) *http.Request {
	switch {
	case !strings.HasPrefix(url, "/"):
	case c.jar != "":
		url = bench.PublicURL + url
	default:
		url = ts.Getenv("GATEWAY") + url
	}
	data := c.data + strings.Repeat("x", c.bytes)
	method := c.method
	if method == "" {
		method = http.MethodGet
		if data != "" {
			method = http.MethodPost
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(data))
	ts.Check(err)
	req.Host = c.host // empty means the URL's
	if c.token != "" {
		value := ts.Getenv(c.token)
		need(ts, value != "", "token "+c.token+" WHO, first")
		req.Header.Set("Authorization", "Bearer "+value)
	}
	for _, h := range c.headers {
		name, value, _ := strings.Cut(h, ":")
		name = http.CanonicalHeaderKey(name)
		req.Header[name] = append(req.Header[name], strings.TrimSpace(value))
	}
	if c.page {
		asPage(req)
	}
	return req
}

// caller sends scripts' requests: it follows no redirect and asks for no
// compression, so that a script sees what was answered.
var caller = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// client is the caller, the one that owns a connection, or somebody's browser.
func (s *scenario) client(ts *testscript.TestScript, c *call) *http.Client {
	switch {
	case c.jar != "":
		v := s.visitors[c.jar]
		need(ts, v != nil && s.gateway != nil, "login "+c.jar+" PERSON STATUS PAGE, first")
		v.node = s.gateway.Listen
		return v.client
	case c.on == "":
		return caller
	}
	client := s.connections[c.on]
	need(ts, client != nil, "dial "+c.on+", first")
	return client
}

func request(ts *testscript.TestScript, s *scenario, args []string) {
	var c call
	flags := c.flags("http")
	times := flags.Int("times", 1, "")
	until := flags.Bool("until", false, "")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() == 2, "http [-times N] [-until] "+callUsage+" STATUS URL")
	status, err := strconv.Atoi(flags.Arg(0))
	ts.Check(err)
	ctx, cancel := s.patient()
	defer cancel()
	var got answer
	once := func() bool {
		got, err = s.ask(s.client(ts, &c), c.request(ctx, ts, flags.Arg(1)))
		return err == nil && got.status == status
	}
	ok := once()
	for i := 1; ok && i < *times; i++ {
		ok = once()
	}
	if !ok && *until {
		ok = s.poll(once)
	}
	ts.Check(err)
	ts.Setenv("TRACE", got.header.Get("X-Request-Id"))
	ts.Stdout().Write(got.body)
	got.header.Write(ts.Stderr())
	if !ok {
		ts.Fatalf("%d, want %d", got.status, status)
	}
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request, and notes what came back for the canary scan and for
// "accounted" where the gateway said it.
func (s *scenario) ask(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	got := answer{resp.StatusCode, resp.Header, body}
	s.note(req, got)
	return got, err
}

// note keeps an answer of the gateway.
func (s *scenario) note(req *http.Request, a answer) {
	public := strings.HasSuffix(bench.PublicURL, "//"+req.URL.Host)
	if s.gateway == nil || !public && !strings.HasSuffix(s.gateway.URL, "//"+req.URL.Host) {
		return
	}
	var head bytes.Buffer
	header := a.header.Clone()
	if public { // a browser's own, and no canary to it
		header.Del("Set-Cookie")
		header.Del("Location")
	}
	header.Write(&head)
	s.Saw("an answer to a caller", append(head.Bytes(), a.body...))
	if code := a.code(); code != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refused = append(s.refused, refusal{a.header.Get("X-Request-Id"), code})
	}
}

// code is a refusal's, or empty.
func (a answer) code() string {
	var problem struct{ Code string }
	if a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &problem) != nil {
		return ""
	}
	return problem.Code
}

// refusal is what a refused caller was told.
type refusal struct{ trace, code string }
