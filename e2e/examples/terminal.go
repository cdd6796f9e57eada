package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Terminal is a shell that somebody types into.
type Terminal struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	running bool
	gorun   bool // what is left running runs under "go run"

	mu    sync.Mutex
	shown bytes.Buffer
	grew  chan struct{} // closed when shown grows
	begun int           // where what the last step showed begins
}

// Open starts a shell. It lives until Close.
func Open(dir string, env []string) (*Terminal, error) {
	t := &Terminal{ended: make(chan struct{}), grew: make(chan struct{})}
	t.cmd = exec.Command("bash", "--noprofile", "--norc")
	t.cmd.Dir, t.cmd.Env = dir, env
	// A group of its own, so that Ctrl-C reaches what runs in it, and no more.
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.cmd.WaitDelay = 10 * time.Second
	t.cmd.Stdout, t.cmd.Stderr = t, t
	var err error
	if t.stdin, err = t.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("a terminal: %w", err)
	}
	go func() {
		t.cmd.Wait()
		close(t.ended)
	}()
	return t, nil
}

// Write notes what is shown.
func (t *Terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.grew)
	t.grew = make(chan struct{})
	return t.shown.Write(p)
}

// Shown is everything so far.
func (t *Terminal) Shown() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return finished.ReplaceAllString(t.shown.String(), "")
}

var errEnded = errors.New("the shell has ended")

// await returns when ok says so of what the last step showed so far.
func (t *Terminal) await(ctx context.Context, ok func(shown string) bool) error {
	for {
		t.mu.Lock()
		shown, grew := string(t.shown.Bytes()[t.begun:]), t.grew
		t.mu.Unlock()
		if ok(shown) {
			return nil
		}
		select {
		case <-grew:
		case <-t.ended:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// finished is what the shell says when it is done with a step. It begins a line
// of its own.
var finished = regexp.MustCompile(`\n@finished (\d+)\n`)

// Type types a step and waits until everything is seen that should be, and
// unless it is left running until it is done. It returns what was shown.
func (t *Terminal) Type(ctx context.Context, s Step) (string, error) {
	if t.running != (s.Script == "") {
		return "", fmt.Errorf("is something left running in this terminal? %t", t.running)
	}
	if s.Script != "" {
		t.mu.Lock()
		t.begun = t.shown.Len()
		t.mu.Unlock()
		t.running, t.gorun = s.Running, strings.Contains(s.Script, "go -C") || strings.Contains(s.Script, "go run")
		if _, err := io.WriteString(t.stdin, s.Script+"printf '\\n@finished %s\\n' $?\n"); err != nil {
			return "", err
		}
	}
	var shown, missing string
	status := -1
	err := t.await(ctx, func(text string) bool {
		shown = text
		if m := finished.FindStringSubmatchIndex(text); m != nil {
			status, _ = strconv.Atoi(text[m[2]:m[3]])
			shown = text[:m[0]]
		}
		missing = s.Missing(shown)
		return status >= 0 || s.Running && missing == ""
	})
	switch {
	case err != nil:
		err = fmt.Errorf("%w; %q is not seen", err, missing)
	case missing != "":
		err = fmt.Errorf("%q is not seen", missing)
	case s.Running && status >= 0:
		err = fmt.Errorf("it does not go on, but ends with status %d", status)
	case s.Sees == nil && status > 0:
		err = fmt.Errorf("it ends with status %d", status)
	}
	return shown, err
}

// Interrupt is Ctrl-C: what is left running must end, and well.
func (t *Terminal) Interrupt(ctx context.Context) error {
	if !t.running {
		return nil
	}
	t.running = false
	if err := syscall.Kill(-t.cmd.Process.Pid, syscall.SIGINT); err != nil {
		return err
	}
	status := ""
	err := t.await(ctx, func(shown string) bool {
		m := finished.FindStringSubmatch(shown)
		if m != nil {
			status = m[1]
		}
		return m != nil
	})
	if err == nil && status != "0" && !t.gorun { // which says 1 after any Ctrl-C
		err = fmt.Errorf("after Ctrl-C it ends with status %s", status)
	}
	return err
}

// Close ends the shell and whatever still runs in it.
func (t *Terminal) Close() {
	t.stdin.Close()
	select {
	case <-t.ended:
	case <-time.After(5 * time.Second):
	}
	syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
	<-t.ended
}

// Reader is somebody with several terminals in one directory.
type Reader struct {
	Dir string
	Env []string

	terminals map[string]*Terminal
}

// Follow does what a step says.
func (r *Reader) Follow(ctx context.Context, s Step) (string, error) {
	t := r.terminals[s.Terminal]
	if t == nil {
		var err error
		if t, err = Open(r.Dir, r.Env); err != nil {
			return "", err
		}
		if r.terminals == nil {
			r.terminals = map[string]*Terminal{}
		}
		r.terminals[s.Terminal] = t
	}
	shown, err := t.Type(ctx, s)
	if err != nil {
		return shown, fmt.Errorf("line %d, %s: %w\n$ %s\n%s", s.Line, s.Terminal, err, strings.ReplaceAll(strings.TrimSpace(s.Script), "\n", "\n$ "), shown)
	}
	return shown, nil
}

// Interrupt is Ctrl-C in one of the terminals.
func (r *Reader) Interrupt(ctx context.Context, terminal string) error {
	t := r.terminals[terminal]
	if t == nil {
		return fmt.Errorf("no %s is open", terminal)
	}
	return t.Interrupt(ctx)
}

// Shown is what was seen so far, by terminal.
func (r *Reader) Shown() map[string]string {
	all := map[string]string{}
	for name, t := range r.terminals {
		all[name] = t.Shown()
	}
	return all
}

// Leave ends what is left running with Ctrl-C, the last terminal first.
func (r *Reader) Leave(ctx context.Context) error {
	var err error
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(r.terminals))) {
		if e := r.terminals[name].Interrupt(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w\n%s", name, e, r.terminals[name].Shown()))
		}
	}
	return err
}

// Close closes every terminal.
func (r *Reader) Close() {
	for _, t := range r.terminals {
		t.Close()
	}
}
