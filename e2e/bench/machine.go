package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Program is the gateway's program: the one that VAULTSPAN_BINARY names, or one
// that is built of the module in root into dir when it is asked for first.
func Program(root, dir string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		if built := os.Getenv("VAULTSPAN_BINARY"); built != "" {
			return built, nil
		}
		return build(context.Background(), root, dir)
	})
}

// Need is the path of a program that this machine has. Without it the test is
// skipped, or fails where CI=true: what runs there installs it.
func Need(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing: install it", name)
	default:
		t.Skipf("%s is missing", name)
	}
	return path
}

// FreePort is a port of loopback that nobody uses now, for what has to be told its
// own: nobody else takes it, most likely.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	return port, l.Close()
}

// Until asks again and again, which is all that can be done of another process.
// It says whether the answer was yes before ctx ended.
func Until(ctx context.Context, ok func() bool) bool {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Packages has the npm packages of a folder there, exactly those of its lock file.
func Packages(t testing.TB, dir string) {
	t.Helper()
	npm := Need(t, "npm")
	if err := install(npm, dir); err != nil {
		t.Fatal(err)
	}
}

var installing sync.Mutex

func install(npm, dir string) error {
	installing.Lock()
	defer installing.Unlock()
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	stamp := filepath.Join(dir, "node_modules", ".installed")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, lock) {
		return nil
	}
	ci := exec.Command(npm, "ci", "--omit=optional")
	ci.Dir = dir
	if out, err := ci.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return os.WriteFile(stamp, lock, 0o600)
}

// Open starts a bench for one test. dir is for all that its gateways write: when
// everything else of the test has ended, it is scanned for leaks. ctx ends after
// that; the test's own ends before its cleanups.
func Open(t *testing.T) (b *Bench, ctx context.Context, dir string) {
	t.Helper()
	secrets := t.TempDir()
	ctx, end := context.WithCancel(context.Background())
	b, err := Start(ctx, secrets)
	if err != nil {
		end()
		t.Fatal(err)
	}
	dir = t.TempDir()
	t.Cleanup(func() {
		defer end()
		found, err := b.Leaks(dir)
		if err != nil {
			t.Error(err)
		}
		for _, leak := range found {
			t.Errorf("a leak: %s", leak)
		}
	})
	return b, ctx, dir
}
