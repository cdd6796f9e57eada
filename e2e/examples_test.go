package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/canary"
	"github.com/vaultspan/vaultspan/e2e/examples"
)

// exampleDir tells a process that runs one example apart where it is.
const exampleDir = "VAULTSPAN_EXAMPLE_DIR"

// needs are the commands that the README of an example says it needs, beside
// those that all do.
var needs = map[string][]string{
	"assertion":    {"openssl"},
	"behind-nginx": {"/usr/sbin/nginx", "openssl"},
	"agent-egress": {"node", "npm"},
	"people":       {"openssl"},
}

// example is a README being followed.
type example struct {
	*examples.Reader
	name string
}

// TestExamples does what the READMEs of the examples say, byte for byte: each in
// a copy of its directory, and where that is permitted with a loopback of its
// own.
func TestExamples(t *testing.T) {
	readmes, err := filepath.Glob("../examples/*/README.md")
	if err != nil || len(readmes) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, readme := range readmes {
		name := filepath.Base(filepath.Dir(readme))
		t.Run(name, func(t *testing.T) {
			for _, command := range append(needs[name], "bash", "curl") {
				if _, err := exec.LookPath(command); err != nil {
					if os.Getenv("CI") != "" {
						t.Fatalf("%v: .ci/run must install it", err)
					}
					t.Skip(err)
				}
			}
			followExample(t, name)
		})
	}
}

func followExample(t *testing.T, name string) {
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir, again := os.LookupEnv(exampleDir)
	if !again {
		dir = copyExample(t, name)
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > 110 {
		t.Errorf("the README has %d lines: that is no screen", lines)
	}
	steps, err := examples.Steps(string(text))
	if err != nil {
		t.Fatal(err)
	}
	x := &example{name: name, Reader: &examples.Reader{Dir: dir, Env: exampleEnv(binary, dir)}}
	defer x.Close()
	for _, s := range steps {
		if s.Terminal == examples.Once && !again {
			x.follow(t, s)
		}
	}
	if !apart(t, binary, dir) {
		return
	}
	for _, s := range steps {
		if s.Terminal != examples.Once {
			x.follow(t, s)
		}
	}
	if proof := proofs[name]; proof != nil {
		proof(t, x)
	}
	x.leave(t)
	t.Log(x.transcript())
	x.leaks(t, binary)
}

// copyExample copies an example to where it may leave files, at the same place
// beside e2e, and in the same module, as in the repository.
func copyExample(t *testing.T, name string) string {
	root := t.TempDir()
	dir := filepath.Join(root, "examples", name)
	if err := os.CopyFS(dir, os.DirFS("../examples/"+name)); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"e2e": here, "go.mod": filepath.Join(here, "../go.mod"), "go.sum": filepath.Join(here, "../go.sum")} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// exampleEnv is a user's environment with vaultspan on the PATH.
func exampleEnv(binary, dir string) []string {
	bin := filepath.Join(dir, "..", ".bin")
	os.MkdirAll(bin, 0o755)
	os.Symlink(binary, filepath.Join(bin, "vaultspan"))
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	for _, name := range []string{"HOME", "GOPATH", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY", "CC", "NPM_CONFIG_CACHE"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// follow does what a step says, and returns what is seen.
func (x *example) follow(t *testing.T, s examples.Step) string {
	t.Helper()
	limit := patience
	if strings.Contains(s.Script, "go ") || s.Terminal == examples.Once {
		limit = 5 * time.Minute // to build and to install
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	shown, err := x.Follow(ctx, s)
	if err != nil {
		t.Fatalf("%s: README.md: %v\n\nall terminals:\n%s", x.name, err, x.transcript())
	}
	return shown
}

// sees types what no README says, and wants to see something.
func (x *example) sees(t *testing.T, terminal, script string, want ...string) {
	t.Helper()
	x.follow(t, examples.Step{Terminal: terminal, Script: script + "\n", Sees: want})
}

func (x *example) transcript() string {
	var all strings.Builder
	for name, shown := range x.Shown() {
		fmt.Fprintf(&all, "--- %s\n%s\n", name, shown)
	}
	return all.String()
}

// leave ends what is left running, as a reader does.
func (x *example) leave(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := x.Leave(ctx); err != nil {
		t.Errorf("%s: leaving: %v", x.name, err)
	}
}

var jwt = regexp.MustCompile(`eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+`)

// leaks looks for secrets of the vault and for tokens in what any terminal
// showed and in the audit logs.
func (x *example) leaks(t *testing.T, binary string) {
	var scanner canary.Scanner
	for _, args := range [][]string{
		{"secret", "payments/PAYMENTS_API_KEY"}, {"secret", "search/SEARCH_API_KEY"}, {"secret", "telemetry/LIGHTSTEP_ACCESS_TOKEN"},
		{"secret", "llm/OPENAI_API_KEY"}, {"secret", "llm/ANTHROPIC_API_KEY"}, {"secret", "llm/GEMINI_API_KEY"},
		{"access-token", "gateway"}, {"access-token", "payments"}, {"access-token", "search"},
	} {
		value, err := exec.Command(binary, append([]string{"dev"}, args...)...).Output()
		if err == nil {
			err = scanner.Add(strings.TrimSpace(string(value)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	found := scanner.Bytes("a terminal", []byte(x.transcript()))
	logs, err := filepath.Glob(filepath.Join(x.Dir, "audit"))
	if len(logs) == 0 {
		logs, err = filepath.Glob(filepath.Join(x.Dir, "*", "audit"))
	}
	if err != nil || len(logs) == 0 {
		t.Fatalf("no audit log in %s: %v", x.Dir, err)
	}
	for _, log := range logs {
		more, err := scanner.Path(log)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, more...)
	}
	for _, leak := range found {
		t.Errorf("a leak: %s", leak)
	}
	if token := jwt.FindString(x.transcript()); token != "" {
		t.Errorf("a token is shown: %.20s…", token)
	}
}
