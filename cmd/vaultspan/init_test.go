package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

const (
	someOrganization = "5f1c2a77-0000-4000-8000-000000000000"
	someToken        = "0.5f1c2a77-0000-4000-8000-000000000001.CANARYsecret:AAAAAAAAAAAAAAAAAAAAAA=="
)

// initArgs are the flags that have no default.
func initArgs(dir string, more ...string) []string {
	return append([]string{
		"init", "--yes", "--dir", dir, "--issuer", "https://login.example.com", "--group", "payments",
		"--organization", someOrganization, "--upstream", "https://api.stripe.com", "--secret", "payments/STRIPE_API_KEY",
	}, more...)
}

// withToken is a run with BWS_ACCESS_TOKEN set.
func withToken(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs strings.Builder
	err = run(t.Context(), args, func(name string) string {
		if name == "BWS_ACCESS_TOKEN" {
			return someToken
		}
		return ""
	}, &out, &errs)
	return out.String(), errs.String(), err
}

func TestWhatInitWritesPassesCheck(t *testing.T) {
	for name, more := range map[string][]string{
		"defaults":    nil,
		"eu":          {"--server", "eu", "--vault", "staging", "--tokens", "id", "--audience", "api://gateway"},
		"self-hosted": {"--server", "https://vault.example.com/", "--inject", "header=X-Api-Key"},
		"strange":     {"--group", "/teams/pay: \"#1\" ${x} {secret}", "--secret", "my project/KEY: 1", "--route", "true", "--dir", filepath.Join(t.TempDir(), "a b'c")},
		"basic":       {"--inject", "basic=svc"},
		"query":       {"--inject", "query=key"},
		"cookie":      {"--inject", "cookie=sid"},
		"elsewhere":   {"--audit-dir", "/var/lib/vaultspan/audit", "--admin-socket", "/run/vaultspan/admin.sock"},
		"loopback":    {"--issuer", "http://127.0.0.1:1", "--upstream", "http://127.0.0.1:2/v1", "--secret", "prod/a/b"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "gw")
			args := initArgs(dir, more...)
			if i := slices.Index(more, "--dir"); i >= 0 {
				dir = more[i+1]
			}
			out, stderr, err := withToken(t, args...)
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}
			if strings.Contains(out, "CANARY") {
				t.Error("the access token was printed")
			}
			path := filepath.Join(dir, "vaultspan.yaml")
			if !strings.Contains(out, shellQuote(path)) {
				t.Errorf("the next commands do not name %s:\n%s", path, out)
			}
			checked, stderr, err := cli(t, "check", "-c", path)
			if err != nil || stderr != "" || !strings.Contains(checked, "1 route, 1 role, 1 issuer, 1 vault: no problem found") {
				text, _ := os.ReadFile(path)
				t.Errorf("%v\n%s%s\n%s", err, checked, stderr, text)
			}
		})
	}
}

// A stranger's path: init, check --online, serve, a request, against a provider,
// a vault and an upstream that answer.
func TestWhatInitWritesServes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := newWorld(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	dir := filepath.Join(t.TempDir(), "gw")
	path := filepath.Join(dir, "vaultspan.yaml")
	getenv := func(name string) string { return map[string]string{"BWS_ACCESS_TOKEN": w.accessToken}[name] }
	for _, args := range [][]string{
		{
			"init", "--yes", "--dir", dir, "--issuer", w.Issuer, "--group", "payments", "--organization", w.Organization,
			"--server", strings.TrimSuffix(w.API, "/api"), "--upstream", w.Payments, "--secret", "payments/PAYMENTS_API_KEY", "--route", "payments",
		},
		{"check", "--online", "--config", path},
	} {
		var out strings.Builder
		if err := run(ctx, args, getenv, &out, &out); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	free := strings.NewReplacer("127.0.0.1:8443", w.Listen, "127.0.0.1:9443", w.Admin).Replace(string(text))
	if err := os.WriteFile(path, []byte(free), 0o644); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	log := &signalWriter{want: `"msg":"serving"`, seen: make(chan struct{})}
	go func() { served <- run(ctx, []string{"serve", "-c", path}, getenv, io.Discard, log) }()
	select {
	case <-log.seen:
	case err := <-served:
		t.Fatal(err)
	}
	token := string(ask(t, http.MethodPost, w.Issuer+"/token-for?person=alice", "", http.StatusOK))
	ask(t, http.MethodGet, "http://"+w.Listen+"/payments/v1/balance", strings.TrimSpace(token), http.StatusOK)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// ask makes a request until it is answered as it should be in the end: a gateway
// that has just started has not read its secrets yet.
func ask(t *testing.T, method, url, token string, want int) []byte {
	t.Helper()
	for {
		r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
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
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == want {
			return body
		}
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s: %s %s", url, res.Status, body)
		}
	}
}

func TestInitKeepsSecretsToTheirOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	if _, _, err := withToken(t, initArgs(dir)...); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"bws-prod": 0o600, "audit.key": 0o600, "fingerprint.key": 0o600, "session.key": 0o600, "audit.key.pub": 0o644, "vaultspan.yaml": 0o644, ".": 0o700 | os.ModeDir,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info, err, mode)
		}
	}
	token, err := os.ReadFile(filepath.Join(dir, "bws-prod"))
	if err != nil || string(token) != someToken+"\n" {
		t.Errorf("the token's file: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "vaultspan.yaml"))
	if err != nil || strings.Contains(string(text), "CANARY") {
		t.Errorf("the configuration holds the token: %v", err)
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "fingerprint.key")
	if err := os.WriteFile(key, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := withToken(t, initArgs(dir)...)
	if err == nil || !strings.Contains(err.Error(), key+": already there") {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v %v", left, err)
	}
	if text, err := os.ReadFile(key); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestInitWithoutATokenSaysWhereItGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	out, stderr, err := cli(t, initArgs(dir)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	file := filepath.Join(dir, "bws-prod")
	if !strings.Contains(out, "cat > "+file) {
		t.Errorf("no word of %s:\n%s", file, out)
	}
	if err := os.WriteFile(file, []byte(someToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := cli(t, "check", "-c", filepath.Join(dir, "vaultspan.yaml")); err != nil {
		t.Errorf("with the token there: %v\n%s", err, stderr)
	}
}

func TestInitNamesEveryMistakeByItsFlag(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	_, _, err := cli(t, "init", "--yes", "--dir", dir, "--issuer", "http://login.example.com", "--tokens", "foo", "--organization", "5f1c",
		"--server", "xx", "--vault", "x y", "--upstream", "ftp://example.com", "--secret", "payments", "--inject", "somehow", "--route", "a b", "--audit-dir", ".", "--admin-socket", "/run/"+strings.Repeat("a", 120))
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{
		"--issuer: is not https", `--tokens: "foo" is none of access, id`, "--organization: want the organization's id", "--server: want a base URL",
		"--vault: ", `--upstream: the scheme "ftp"`, "--secret: want vault/collection/name", "--inject: want the word bearer", "--route: ", "--audit-dir: the key lies in the directory", "--admin-socket: is longer than the 103 bytes", "there is nobody to ask for --group:",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is not %q:\n%v", i+1, want, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s was made: %v", dir, err)
	}
	t.Setenv("BWS_ACCESS_TOKEN", "")
	var out strings.Builder
	err = run(t.Context(), initArgs(dir), func(string) string { return "CANARY" }, &out, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "BWS_ACCESS_TOKEN: the access token has no colon") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("a wrong token: %v", err)
	}
}

// person is somebody at a real terminal with init running on it.
type person struct {
	*testing.T
	hand   *os.File // what they type on, and see
	tty    *os.File // the other end
	screen *bufio.Reader
	seen   strings.Builder
	done   chan error
}

func sitDown(t *testing.T, ctx context.Context, stdout io.Writer, args ...string) *person {
	t.Helper()
	hand, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { hand.Close(); tty.Close() })
	p := &program{getenv: func(string) string { return "" }, stdout: stdout, stderr: tty}
	c := p.initCommand()
	c.SetIn(tty)
	c.SetArgs(args)
	c.SilenceUsage, c.SilenceErrors = true, true
	who := &person{T: t, hand: hand, tty: tty, screen: bufio.NewReader(hand), done: make(chan error, 1)}
	go func() { who.done <- c.ExecuteContext(ctx) }()
	return who
}

// reads waits until a text is on the screen.
func (p *person) reads(text string) {
	p.Helper()
	for !strings.HasSuffix(p.seen.String(), text) {
		c, err := p.screen.ReadByte()
		if err != nil {
			p.Fatalf("%v after %q, waiting for %q", err, p.seen.String(), text)
		}
		p.seen.WriteByte(c)
	}
}

// types answers a question.
func (p *person) types(prompt, answer string) {
	p.Helper()
	p.reads(prompt + ": ")
	if _, err := p.hand.WriteString(answer + "\n"); err != nil {
		p.Fatal(err)
	}
}

func TestInitAsksOnATerminal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	var out strings.Builder
	p := sitDown(t, t.Context(), &out, "--dir", dir, "--group", "payments")
	p.types("https://login.example.com)", "login.example.com")
	p.reads("is not a URL such as https://login.example.com\r\n")
	p.types("https://login.example.com)", "https://login.example.com")
	p.types("[vaultspan]", "")
	p.types("in the address of the web vault)", someOrganization)
	p.types("[us]", "eu")
	p.types("https://api.stripe.com)", "")
	p.reads("this has no default\r\n")
	p.types("https://api.stripe.com)", "https://api.stripe.com")
	p.types("as PROJECT/NAME", "payments/STRIPE_API_KEY")
	p.types("[bearer]", "header=X-Api-Key")
	p.types("[stripe]", "")
	p.types("(empty: nobody does)", "")
	p.types("(empty: later)", "CANARY")
	p.reads("the access token has no colon: it was cut off, or is not a machine account's (want 0.ID.SECRET:KEY)\r\n")
	p.types("(empty: later)", someToken)
	if err := <-p.done; err != nil {
		t.Fatalf("%v\n%s", err, p.seen.String())
	}
	if strings.Contains(p.seen.String(), "CANARY") {
		t.Errorf("the token is on the screen:\n%s", p.seen.String())
	}
	if _, stderr, err := cli(t, "check", "-c", filepath.Join(dir, "vaultspan.yaml")); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "vaultspan.yaml"))
	if err != nil || !strings.Contains(string(text), "https://api.bitwarden.eu") || !strings.Contains(string(text), "{header: X-Api-Key}") {
		t.Errorf("%v in\n%s", err, text)
	}
}

func TestInitAbandonedWritesNothing(t *testing.T) {
	for _, last := range []string{"https://login.example.com): ", "(empty: later): "} { // a question, and one whose answer is hidden
		for name, leave := range map[string]func(p *person, cancel func()){
			"Ctrl-D": func(p *person, _ func()) { p.hand.WriteString("\x04") },
			"signal": func(_ *person, cancel func()) { cancel() },
		} {
			t.Run(name+" at "+last, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "gw")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				args := []string{"--dir", dir}
				if last == "(empty: later): " {
					args = append(initArgs(dir)[2:], "--audience", "a", "--server", "us", "--inject", "bearer", "--route", "r", "--login", "c")
				}
				p := sitDown(t, ctx, io.Discard, args...)
				p.reads(last)
				leave(p, cancel)
				if err := <-p.done; !errors.Is(err, errNoAnswer) {
					t.Errorf("%v", err)
				}
				if _, err := os.Stat(dir); !os.IsNotExist(err) {
					t.Errorf("%s was made: %v", dir, err)
				}
				settings, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
				if err != nil || settings.Lflag&unix.ECHO == 0 {
					t.Errorf("the terminal shows nothing any more: %v", err)
				}
			})
		}
	}
}
