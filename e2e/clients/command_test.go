package clients_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// command is a client that is a program: what it may know, and where it works.
type command struct {
	w   *world
	t   *testing.T
	exe string
	dir string
	env []string
}

func (w *world) command(t *testing.T, name string, env ...string) *command {
	t.Helper()
	c := &command{w: w, t: t, exe: bench.Need(t, name), dir: t.TempDir()}
	c.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "LC_ALL=C"}, env...)
	return c
}

// try runs the program. Nothing it shows or leaves behind has a key of the vault.
func (c *command) try(args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.exe, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = c.dir, c.env, time.Second
	var out, errs []byte
	cmd.Stdout = writer(func(p []byte) { out = append(out, p...) })
	cmd.Stderr = writer(func(p []byte) { errs = append(errs, p...) })
	err = cmd.Run()
	for _, leak := range append(c.w.keys.Bytes("stdout", out), c.w.keys.Bytes("stderr", errs)...) {
		c.t.Errorf("a leak: %s", leak)
	}
	return string(out), string(errs), err
}

// run is try of what has to succeed.
func (c *command) run(args ...string) (stdout, stderr string) {
	c.t.Helper()
	stdout, stderr, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("%s %q: %v\n%s", c.exe, args, err, tail(stdout+stderr))
	}
	return stdout, stderr
}

// left searches what the program left behind.
func (c *command) left() {
	c.t.Helper()
	found, err := c.w.keys.Path(c.dir)
	if err != nil {
		c.t.Error(err)
	}
	for _, leak := range found {
		c.t.Errorf("a leak: %s", leak)
	}
}

// tail is the end of what a program showed.
func tail(text string) string { return text[max(0, len(text)-8000):] }
