package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// nobody is who the gateway runs as when this test is root: to root, nothing is
// unreadable.
const nobody = 65534

// as is how a process of the gateway's own user is started.
func as() *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// give hands a directory, its parent (t.TempDir is in one of its own) and all
// that is in it to the gateway's user.
func give(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	own := func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, nobody, nobody))
	}
	if err := errors.Join(os.Chown(filepath.Dir(dir), nobody, nobody), filepath.WalkDir(dir, own)); err != nil {
		t.Fatal(err)
	}
}

// peer runs a shell's line as the gateway's user in dir, and returns what it says.
func peer(t *testing.T, dir, line string) (string, error) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Dir, cmd.SysProcAttr = dir, as()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// cores are the core files in a directory.
func cores(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*core*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// J22, J23, J27: a gateway whose limit of core files is lifted, and that dies as
// loudly as it can, leaves none; and while it lives no other process of its user
// reads its memory, or the environment that it was started with.
func TestNobodySeesIntoTheProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/mem"); err != nil {
		t.Skip("only Linux has /proc: ", err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	lifted := limit
	lifted.Cur = lifted.Max
	if os.Getuid() == 0 {
		lifted = syscall.Rlimit{Cur: ^uint64(0), Max: ^uint64(0)} // unlimited
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &lifted); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_CORE, &limit)

	w := newWorkshop(t)
	bin := t.TempDir()
	content, err := os.ReadFile(w.program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "vaultspan"), content, 0o755); err != nil {
		t.Fatal(err)
	}
	control := t.TempDir()
	for _, dir := range []string{bin, w.dir, control, filepath.Dir(w.key)} {
		give(t, dir)
	}
	g, err := w.Serve(t.Context(), bench.Run{
		Program: filepath.Join(bin, "vaultspan"), Dir: w.dir, Log: filepath.Join(w.dir, "gateway.log"), Attr: as(),
		Env: []string{"PATH=" + os.Getenv("PATH"), "GOTRACEBACK=crash", "MARK=in-the-environment"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.Serving(ctx); err != nil {
		t.Fatal(err)
	}
	token, err := w.Token(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	w.use(t, g, token)

	// A process like any other shows what the gateway must not, or this test is
	// blind. (Where ptrace is restricted, mem is closed to its siblings anyway.)
	for _, file := range []string{"environ", "mem", "maps", "fd/0", "auxv"} {
		line := fmt.Sprintf("MARK=in-the-environment sleep 60 & head -c 1 /proc/$!/%[1]s >/dev/null; : </proc/$!/%[1]s; s=$?; kill $!; exit $s", file)
		if out, err := peer(t, control, line); err != nil {
			t.Logf("%s is closed on this machine anyway: %v %s", file, err, out)
		}
		out, err := peer(t, control, fmt.Sprintf(": </proc/%d/%s", g.PID(), file))
		if err == nil || !strings.Contains(out, "ermission denied") {
			t.Errorf("the gateway's user opens the gateway's %s: %v %s", file, err, out)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", g.PID()))
	if err != nil || !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("the limit of core files: %v\n%s", err, limits)
	}

	peer(t, control, "kill -ABRT $$")
	if len(cores(t, control)) == 0 {
		t.Log("this machine leaves no core file in the directory of who died: what follows shows little")
	}
	if err := g.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	if err := g.Ended(ctx); err == nil {
		t.Error("SIGABRT ended it in peace")
	}
	if found := cores(t, w.dir); len(found) > 0 {
		t.Errorf("it left %v", found)
	}
	found, err := w.Leaks(w.dir) // the stacks of all goroutines are in its log
	if err != nil || len(found) > 0 {
		t.Errorf("%v %v", found, err)
	}
}

// use has the gateway put a credential on a request.
func (w *workshop) use(t *testing.T, g *bench.Gateway, token string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx, done := context.WithCancel(ctx)
	go func() {
		defer done()
		w.Upstreams["U1"].Wait(ctx, 1)
	}()
	press(ctx, g.URL, token)
	if len(w.Upstreams["U1"].Uses()) == 0 {
		t.Fatal("the upstream got nothing")
	}
}
