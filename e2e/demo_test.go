package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/canary"
)

// A step of the guide, by its number, and what the command must say.
var guideSteps = []struct {
	step    string
	command string // the beginning of it
	want    []string
}{
	{"1", "TOKEN=", nil},
	{"1", "curl -i", []string{"HTTP/1.1 200 OK", `"upstream_saw":"the vault's key, and no token of the caller"`}},
	{"2", "curl -i", []string{"HTTP/1.1 403 Forbidden", `"code":"denied"`}},
	{"3", "curl -i", []string{"HTTP/1.1 401 Unauthorized", `"code":"no-credentials"`}},
	{"4", "AGENT=", nil},
	{"4", "curl -N", []string{"event: content_block_delta", `"text":"gateway."`, "event: message_stop"}},
	{"4", "curl -N", []string{`"content":"gateway."`, "data: [DONE]"}},
	{"5", "curl -X POST", []string{"rotated PAYMENTS_API_KEY"}},
	{"5", "sleep 3", []string{"HTTP/1.1 200 OK"}},
	{"6", "curl -s", []string{"303 http://", "/.vaultspan/login?return=%2Fwiki%2F"}},
	{"6", "", []string{`demo    "alice"`}},
	{"6", "", []string{"1 session ended"}},
	{"7", "", []string{"The log is whole", "refusals    4"}}, // the two redirects to the login are two of them
}

// Whoever tries the demo copies its commands: they are run here as printed, one
// shell for all of them, and each has to do what the guide says of it.
func TestDemoDoesWhatItsGuideSays(t *testing.T) {
	t.Parallel()
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	shown := &screen{changed: make(chan struct{})}
	demo := exec.CommandContext(t.Context(), exe, "demo")
	demo.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}
	demo.Stdout, demo.Stderr = shown, shown
	demo.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for all of its processes
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	guide := shown.wait(t, "leaves nothing behind", 15*time.Second)
	t.Logf("the demo served after %v", time.Since(begun))

	shell := newShell(t)
	commands := commandsOf(guide)
	if len(commands) != len(guideSteps) {
		t.Fatalf("the guide has %d commands, tested are %d:\n%s", len(commands), len(guideSteps), guide)
	}
	var said strings.Builder
	trees := 0
	var versions []string
	for i, want := range guideSteps {
		got := commands[i]
		if got.step != want.step || !strings.HasPrefix(got.command, want.command) {
			t.Fatalf("command %d of the guide is %s: %s", i+1, got.step, got.command)
		}
		if strings.Contains(got.command, " sessions list ") {
			said.WriteString(picks(shell, guide, "alice"))
		}
		out := shell.run(got.command)
		said.WriteString(out)
		for _, text := range want.want {
			if !strings.Contains(out, text) {
				t.Errorf("step %s: %s\nwant %q in\n%s", got.step, got.command, text, out)
			}
		}
		if strings.Contains(got.command, "/v1/") {
			trees++
			versions = regexp.MustCompile(`secret=PAYMENTS_API_KEY version=\S+`).FindAllString(shown.waitFor(t, trees), -1)
		}
	}
	if len(versions) != 2 || versions[0] == versions[1] {
		t.Errorf("before and after the rotation the trees tell versions %q:\n%s", versions, shown.text())
	}
	token := strings.TrimSpace(shell.run(`echo "$TOKEN"`))
	leaves(t, tmp, addresses(guide), demo)

	scanner := new(canary.Scanner)
	if err := scanner.Add(token[strings.LastIndexByte(token, '.')+1:]); err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"the demo's terminal": shown.text(), "the caller's terminal": said.String()} {
		for _, f := range scanner.Bytes(where, []byte(text)) {
			t.Error(f)
		}
		if key := regexp.MustCompile(`(pay_|sk-)[A-Z2-7]{26}`).FindString(text); key != "" {
			t.Errorf("%s shows the key %s", where, key)
		}
	}
}

// picks opens the wiki of the guide in a browser and picks somebody. The browser
// is curl, which takes a page of 127.0.0.1 for secure, as others do.
func picks(s *shell, guide, person string) string {
	s.t.Helper()
	wiki := regexp.MustCompile(`http://\S+/wiki/`).FindString(guide)
	page := s.run(`JAR=$(mktemp); curl -s -L -b "$JAR" -c "$JAR" -H "Accept: text/html" ` + wiki)
	request := regexp.MustCompile(`name="request" value="(\w+)"`).FindStringSubmatch(page)
	issuer := regexp.MustCompile(`http://[^/]+/token-for`).FindString(guide)
	if request == nil || !strings.Contains(page, "Alice Ames") || !strings.Contains(page, "Mallory Moss") {
		s.t.Fatalf("%s leads to no picker:\n%s", wiki, page)
	}
	page = s.run(`curl -s -L -b "$JAR" -c "$JAR" -H "Accept: text/html" -d request=` + request[1] + ` -d person=` + person + " " + strings.TrimSuffix(issuer, "/token-for") + "/login")
	if !strings.Contains(page, "<h1>Home</h1>") {
		s.t.Errorf("after the login there is no wiki:\n%s", page)
	}
	return page
}

// leaves says that Ctrl-C leaves nothing: no file, no process, no open port.
func leaves(t *testing.T, tmp string, addresses []string, demo *exec.Cmd) {
	t.Helper()
	if err := syscall.Kill(-demo.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := demo.Wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := syscall.Kill(-demo.Process.Pid, 0); err == nil {
		t.Error("a process of the demo lives on")
	}
	if len(addresses) < 4 {
		t.Errorf("the guide names only %v", addresses)
	}
	for _, address := range addresses {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("somebody still listens on %s", address)
		}
	}
}

type guided struct{ step, command string }

// commandsOf are the indented lines below the numbered ones.
func commandsOf(guide string) (all []guided) {
	number := regexp.MustCompile(`^  (\d+)\. `)
	step := ""
	for line := range strings.Lines(guide) {
		line = strings.TrimRight(line, "\n")
		if m := number.FindStringSubmatch(line); m != nil {
			step = m[1]
		} else if command, ok := strings.CutPrefix(line, "     "); ok && step != "" {
			all = append(all, guided{step, command})
		}
	}
	return all
}

// addresses are the ones the guide names.
func addresses(guide string) (all []string) {
	seen := map[string]bool{}
	for _, raw := range regexp.MustCompile(`http://[^\s"/]+`).FindAllString(guide, -1) {
		if u, err := url.Parse(raw); err == nil && !seen[u.Host] {
			seen[u.Host] = true
			all = append(all, u.Host)
		}
	}
	return all
}

// screen is a terminal that can be waited for.
type screen struct {
	mu      sync.Mutex
	all     bytes.Buffer
	changed chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.all.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// until returns what is shown once ok says so of it.
func (s *screen) until(t *testing.T, limit time.Duration, what string, ok func(string) bool) string {
	t.Helper()
	late := time.After(limit)
	for {
		s.mu.Lock()
		text, changed := s.all.String(), s.changed
		s.mu.Unlock()
		if ok(text) {
			return text
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s was not shown within %v:\n%s", what, limit, text)
		}
	}
}

func (s *screen) wait(t *testing.T, want string, limit time.Duration) string {
	t.Helper()
	return s.until(t, limit, want, func(text string) bool { return strings.Contains(text, want) })
}

// waitFor waits for so many trees of requests.
func (s *screen) waitFor(t *testing.T, trees int) string {
	t.Helper()
	root := regexp.MustCompile(`(?m)^(GET|POST) .*SERVER`)
	return s.until(t, patience, fmt.Sprint(trees, " trees"), func(text string) bool { return len(root.FindAllString(text, -1)) >= trees })
}

// shell is one session in which commands are typed.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func newShell(t *testing.T) *shell {
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "bash")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	return &shell{t, in, bufio.NewReader(out)}
}

// run types a command, byte for byte, and returns what it says. It must not
// fail.
func (s *shell) run(command string) string {
	s.t.Helper()
	const end = "@@ and its status is "
	if _, err := fmt.Fprintf(s.in, "%s\nprintf '\\n%s%%d\\n' $?\n", command, end); err != nil {
		s.t.Fatal(err)
	}
	var said strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %v", command, err)
		}
		if status, ok := strings.CutPrefix(line, end); ok {
			if status != "0\n" {
				s.t.Errorf("%s\nhas status %s%s", command, status, &said)
			}
			return said.String()
		}
		said.WriteString(line)
	}
}
