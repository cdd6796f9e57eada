package deploy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// patience bounds every wait for another process; none is meant to last.
const patience = 60 * time.Second

// exported is what /metrics shows: by metric, by label, the values.
type exported map[string]map[string]map[string]bool

func (e exported) add(metric, label, value string) {
	if e[metric] == nil {
		e[metric] = map[string]map[string]bool{}
	}
	if label == "" {
		return
	}
	if e[metric][label] == nil {
		e[metric][label] = map[string]bool{}
	}
	e[metric][label][value] = true
}

// binaries is where built puts the gateway.
var binaries string

// built is the gateway's binary.
var built = sync.OnceValues(func() (string, error) {
	build := exec.Command("go", "build", "-o", binaries, "./cmd/vaultspan")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return filepath.Join(binaries, "vaultspan"), nil
})

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vaultspan-deploy-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binaries = dir
	return m.Run()
}

// process is a running vaultspan.
type process struct {
	listen, admin, issuer string
	dir                   string
}

// start runs a program and waits until it has written a line that matches.
func start(t *testing.T, ready string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); in.Close(); close(exited) }()
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); <-exited })
	seen, matched := &strings.Builder{}, make(chan bool, 1)
	go func() {
		want := regexp.MustCompile(ready)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Fprintln(seen, lines.Text())
			if want.MatchString(lines.Text()) {
				matched <- true
				break
			}
		}
		matched <- false
		io.Copy(io.Discard, out)
	}()
	select {
	case ok := <-matched:
		if !ok {
			t.Fatalf("%s ended:\n%s", name, seen)
		}
	case <-time.After(patience):
		t.Fatalf("%s does not say %q", name, ready)
	}
}

// demo runs everything on loopback.
func demo(t *testing.T) process {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	p := process{dir: filepath.Join(t.TempDir(), "demo")}
	start(t, "Ctrl-C ends everything", program, "demo", "--dir", p.dir)
	var config struct {
		Listen  string
		Admin   struct{ Listen string }
		Issuers []struct{ URL string }
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "vaultspan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	p.listen, p.admin, p.issuer = config.Listen, config.Admin.Listen, config.Issuers[0].URL
	return p
}

// next is another gateway in the demo's world, not yet running, and its
// configuration: the demo's, with listeners, files and sessions of its own.
func (p process) next(t *testing.T, name string) (it process, config string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "vaultspan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	it = process{listen: free(t), admin: free(t), issuer: p.issuer, dir: p.dir}
	return it, strings.NewReplacer(p.listen, it.listen, p.admin, it.admin, "admin.sock", name+".sock",
		"audit: {dir: audit", "audit: {dir: audit-"+name, "sessions: {", "sessions: {sqlite: "+name+".db, ").Replace(string(text))
}

// run runs it. Before the program's name stands what runs the program.
func (p process) run(t *testing.T, name, config string, before ...string) process {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	command := append(before, program, "serve", "--config", file)
	start(t, `"msg":"serving"`, command[0], command[1:]...)
	return p
}

// beside serves a second gateway in the demo's world, whose collector is not
// there, whose metrics may have few series, and whose files cannot grow.
func (p process) beside(t *testing.T) process {
	t.Helper()
	second, config := p.next(t, "beside")
	config = regexp.MustCompile(`(?m)^telemetry:.*$`).ReplaceAllString(config, `telemetry: {max_series: 4, otlp: {endpoint: "http://`+free(t)+`"}}`)
	return second.run(t, "beside", config, "/bin/sh", "-c", `ulimit -f 64; exec "$@"`, "sh")
}

// forPeople serves a third gateway in the demo's world, with a route for people.
func (p process) forPeople(t *testing.T) process {
	t.Helper()
	third, config := p.next(t, "people")
	config = strings.NewReplacer("log_level: warn", "log_level: info",
		"routes:\n", "routes:\n  - {name: people, match: [/people/], upstream: \""+p.issuer+"\", allow: [payments-engineer], session: true}\n").Replace(config)
	return third.run(t, "people", config)
}

// visits asks for a page with a session that no store knows.
func (p process) visits(t *testing.T, path string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.listen+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "__Host-vaultspan="+strings.Repeat("A", 43))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// token is somebody's.
func (p process) token(t *testing.T, query string) string {
	t.Helper()
	_, body := ask(t, http.MethodPost, p.issuer+"/token-for?"+query, "")
	return strings.TrimSpace(body)
}

// get asks the gateway for a path and returns the status.
func (p process) get(t *testing.T, path, token string) int {
	t.Helper()
	status, _ := ask(t, http.MethodGet, "http://"+p.listen+path, token)
	return status
}

func ask(t *testing.T, method, url, token string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// until asks again and again, which is all that can be done of another process.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s does not come", what)
		}
	}
}

// scrape adds what /metrics shows now, with the labels Prometheus adds.
func (p process) scrape(t *testing.T, into exported) {
	t.Helper()
	_, text := ask(t, http.MethodGet, "http://"+p.admin+"/metrics", "")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for name, family := range families {
		names := []string{name}
		if family.GetType().String() == "HISTOGRAM" {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
			into.add(name+"_bucket", "le", "+Inf")
		}
		for _, name := range names {
			into.add(name, "instance", p.admin)
			for _, m := range family.GetMetric() {
				for _, label := range m.GetLabel() {
					into.add(name, label.GetName(), label.GetValue())
				}
			}
		}
	}
	into.add("up", "instance", p.admin) // Prometheus's own
	into.add("up", "job", "vaultspan")
}

// shows says whether /metrics has a line that begins so.
func (p process) shows(t *testing.T, line string) bool {
	t.Helper()
	_, text := ask(t, http.MethodGet, "http://"+p.admin+"/metrics", "")
	return strings.Contains(text, "\n"+line)
}

// observed is everything three gateways export through good and bad times.
func observed(t *testing.T) exported {
	t.Helper()
	all, first := exported{}, demo(t)
	alice, mallory := first.token(t, "person=alice"), first.token(t, "person=mallory")
	until(t, "a first answer", func() bool { return first.get(t, "/payments/v1/balance", alice) == http.StatusOK })
	for token, want := range map[string]int{mallory: 403, "": 401} {
		if got := first.get(t, "/payments/v1/balance", token); got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
	for range 50 { // more than get a record of their own
		first.get(t, "/payments/v1/balance", "")
	}
	until(t, "an aggregate", func() bool { return first.shows(t, "vaultspan_audit_aggregated_total") })
	path := filepath.Join(first.dir, "vaultspan.yaml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(text, line string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		until(t, line, func() bool { return first.shows(t, line) })
	}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Header.Write(w) }))
	defer echo.Close()
	nobody := `routes:
  - {name: echo, match: [/echo/], upstream: "` + echo.URL + `", secret: demo/payments/PAYMENTS_API_KEY, inject: bearer}
  - {name: gone, match: [/gone/], upstream: "http://` + free(t) + `", allow: [payments-engineer]}`
	change(strings.Replace(string(good), "routes:", nobody, 1), `vaultspan_config_reloads_total{vaultspan_result="ok"} 1`)
	if got := first.get(t, "/gone/", alice); got != http.StatusBadGateway {
		t.Errorf("status %d of an upstream that is not there", got)
	}
	until(t, "an echo", func() bool { return first.get(t, "/echo/", alice) == http.StatusOK })
	change("nonsense", "vaultspan_config_good 0")
	first.scrape(t, all)
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}

	third := first.forPeople(t)
	if got := third.visits(t, "/people/"); got != http.StatusUnauthorized {
		t.Errorf("status %d of a session that nobody knows", got)
	}
	third.scrape(t, all)

	second := first.beside(t)
	until(t, "a first answer", func() bool { return second.get(t, "/payments/v1/balance", alice) == http.StatusOK })
	for _, path := range []string{"/a", "/payments/v1/balance", "/openai/v1", "/anthropic/v1"} {
		second.get(t, path, "")
		second.get(t, path, mallory)
	}
	second.scrape(t, all)
	// The open segment reaches the limit, and there is nowhere to begin another.
	audit := filepath.Join(second.dir, "audit-beside")
	if err := os.Rename(audit, audit+".gone"); err != nil {
		t.Fatal(err)
	}
	until(t, "503", func() bool { return second.get(t, "/payments/v1/balance", alice) == http.StatusServiceUnavailable })
	until(t, "an audit log that is not writable", func() bool { return second.shows(t, "vaultspan_audit_writable 0") })
	second.scrape(t, all)
	if err := os.Rename(audit+".gone", audit); err != nil {
		t.Fatal(err)
	}
	return all
}
