package e2e_test

import (
	"bytes"
	"flag"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, ", ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

// caller sends scripts' requests: it follows no redirect and asks for no
// compression, so that a script sees what was answered.
var caller = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func request(ts *testscript.TestScript, s *scenario, args []string) {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	token := flags.String("token", "", "")
	method := flags.String("method", http.MethodGet, "")
	data := flags.String("data", "", "")
	host := flags.String("host", "", "")
	var headers list
	flags.Var(&headers, "header", "")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() == 2, "http [-token VAR] [-method M] [-header 'K: V'] [-data TEXT] [-host HOST] STATUS URL")
	status, err := strconv.Atoi(flags.Arg(0))
	ts.Check(err)
	url := flags.Arg(1)
	if strings.HasPrefix(url, "/") {
		url = ts.Getenv("GATEWAY") + url
	}
	if *data != "" && *method == http.MethodGet {
		*method = http.MethodPost
	}
	ctx, cancel := s.patient()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, *method, url, strings.NewReader(*data))
	ts.Check(err)
	req.Host = *host // empty means the URL's
	if *token != "" {
		value := ts.Getenv(*token)
		need(ts, value != "", "token "+*token+" WHO, first")
		req.Header.Set("Authorization", "Bearer "+value)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		req.Header[http.CanonicalHeaderKey(name)] = append(req.Header[http.CanonicalHeaderKey(name)], strings.TrimSpace(value))
	}
	resp, err := caller.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	var head bytes.Buffer
	resp.Header.Write(&head)
	if resp.Request.URL.Host == strings.TrimPrefix(ts.Getenv("GATEWAY"), "http://") {
		s.Saw("an answer to a caller", append(head.Bytes(), body...))
	}
	ts.Setenv("TRACE", resp.Header.Get("X-Request-Id"))
	ts.Stdout().Write(body)
	ts.Stderr().Write(head.Bytes())
	if resp.StatusCode != status {
		ts.Fatalf("%s, want %d", resp.Status, status)
	}
}
