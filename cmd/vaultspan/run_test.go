package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cli runs a command line as the binary would.
func cli(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs strings.Builder
	err = run(t.Context(), args, func(string) string { return "" }, &out, &errs)
	return out.String(), errs.String(), err
}

func TestHelpNamesEverySubcommand(t *testing.T) {
	out, _, err := cli(t, "--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"init", "demo", "serve", "check", "audit", "secrets", "schema", "completion", "version"} {
		if !strings.Contains(out, "\n  "+name) {
			t.Errorf("--help does not list %s:\n%s", name, out)
		}
	}
}

func TestShellsComplete(t *testing.T) {
	for line, want := range map[string]string{
		"ser":                      "serve\tRun the gateway\n:4\n",
		"serve --config ":          "yaml\nyml\n:8\n", // files of these
		"audit verify --dir ":      ":16\n",           // directories
		"audit verify --key ":      ":0\n",            // files
		"secrets s":                "status\tSay which version of each secret is held, how old it is, and who uses it\n:4\n",
		"secrets status --socket ": ":0\n",
		"check ":                   ":4\n", // nothing, and no files
		"init --server ":           "us\neu\n:4\n",
		"init --tokens ":           "access\nid\n:4\n",
		"init --inject h":          "bearer\nbasic\nheader=\nbasic=\nquery=\ncookie=\n:6\n", // the shell picks, and no space behind it
		"completion ":              "bash\t",
	} {
		fields := strings.Split(line, " ")
		out, _, err := cli(t, append([]string{"__complete"}, fields...)...)
		if err != nil || !strings.HasPrefix(out, want) {
			t.Errorf("vaultspan %s completes to %q, want %q; %v", line, out, want, err)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, _, err := cli(t, "completion", shell); err != nil || !strings.Contains(out, "vaultspan") {
			t.Errorf("%s: %v", shell, err)
		}
	}
}

// Everything that a person can be shown says what it is, and how it is used.
func TestEveryCommandIsExplained(t *testing.T) {
	for _, command := range []string{"init", "serve", "check", "demo", "audit", "audit keygen", "audit verify", "secrets", "secrets status", "schema", "version", "completion"} {
		out, _, err := cli(t, append(strings.Fields(command), "--help")...)
		if err != nil || !strings.Contains(out, "Usage:\n  vaultspan "+command) || strings.Contains(out, " string ") {
			t.Errorf("%s --help: %v\n%s", command, err, out)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"srve"}, `unknown command "srve"`},
		{[]string{"srve"}, "did you mean serve?"},
		{[]string{"audit", "verfy"}, "did you mean verify?"},
		{[]string{"secrets", "stauts"}, "did you mean status?"},
		{[]string{"check", "extra.yaml"}, "write vaultspan check --config extra.yaml"},
		{[]string{"version", "extra"}, "vaultspan version --help"},
		{[]string{"serve", "--confg", "x"}, "unknown flag: --confg"},
		{[]string{"audit", "verify"}, `required flag(s) "dir", "key" not set`},
		{[]string{"audit", "verify", "--dir", "x", "--key", "/no/such/file"}, "--key"},
		{[]string{"audit", "verify", "--dir", os.TempDir() + "/none", "--key", "a+b"}, "holds no audit log"},
		{[]string{"audit", "keygen"}, "such as gw.example.com/audit"},
	} {
		if _, _, err := cli(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("vaultspan %s: %v, want %q", strings.Join(c.args, " "), err, c.want)
		}
	}
}

func TestServeRefusesWhatCheckRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vaultspan.yaml")
	if err := os.WriteFile(path, []byte("routes: []\nrouts: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "serve"} {
		_, stderr, err := cli(t, command, "-c", path)
		if !errors.Is(err, errReported) || !strings.Contains(stderr, "routs") || !strings.Contains(stderr, ":2:1") {
			t.Errorf("%s: %v\n%s", command, err, stderr)
		}
	}
}

func TestKeygenNeverOverwritesAndVerifyWantsThePublicKey(t *testing.T) {
	key := filepath.Join(t.TempDir(), "audit.key")
	if _, _, err := cli(t, "audit", "keygen", "gw.test/audit", "--out", key); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key has mode %v, %v", info.Mode(), err)
	}
	if _, _, err := cli(t, "audit", "keygen", "gw.test/audit", "--out", key); !errors.Is(err, os.ErrExist) {
		t.Errorf("a key was overwritten: %v", err)
	}
	_, _, err = cli(t, "audit", "verify", "--dir", t.TempDir(), "--key", key)
	if err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("verify took the private key: %v", err)
	}
	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = cli(t, "audit", "verify", "--dir", t.TempDir(), "--key", string(private))
	if err == nil || strings.Contains(err.Error(), strings.TrimSpace(string(private))) {
		t.Errorf("a private key on the command line was repeated: %v", err)
	}
}

func TestDemoLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs strings.Builder
	ready := &signalWriter{want: "Ctrl-C ends everything", seen: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"demo"}, func(string) string { return "" }, ready, &errs)
	}()
	select {
	case <-ready.seen:
	case err := <-done:
		t.Fatalf("the demo ended: %v\n%s", err, errs.String())
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// signalWriter closes seen once want has been written.
type signalWriter struct {
	want string
	all  strings.Builder
	seen chan struct{}
}

func (w *signalWriter) Write(p []byte) (int, error) {
	before := strings.Contains(w.all.String(), w.want)
	w.all.Write(p)
	if !before && strings.Contains(w.all.String(), w.want) {
		close(w.seen)
	}
	return len(p), nil
}
