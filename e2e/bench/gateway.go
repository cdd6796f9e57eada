package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// build builds the gateway of the module in root into dir, and returns the
// program.
func build(ctx context.Context, root, dir string) (string, error) {
	program := filepath.Join(dir, "vaultspan")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/vaultspan")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return program, nil
}

// Run says how to run a gateway.
type Run struct {
	Program string
	Args    []string // after serve
	Dir     string
	Env     []string
	Log     string // the file that its output is added to
	// Attr is how the process is started, as somebody else for one. Default:
	// as this one.
	Attr *syscall.SysProcAttr
}

// Gateway is a running gateway process.
type Gateway struct {
	URL    string // where it serves
	Listen string // the same as host:port
	Admin  string // its admin listener

	cmd     *exec.Cmd
	serving chan struct{}
	exited  chan struct{}
	err     error // of the process, once exited
}

// Serve starts a gateway, which is killed when ctx ends.
func (b *Bench) Serve(ctx context.Context, run Run) (*Gateway, error) {
	log, err := os.OpenFile(run.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	output, input := io.Pipe()
	g := &Gateway{serving: make(chan struct{}), exited: make(chan struct{})}
	g.cmd = exec.CommandContext(ctx, run.Program, append([]string{"serve"}, run.Args...)...)
	g.cmd.Dir, g.cmd.Env, g.cmd.SysProcAttr = run.Dir, run.Env, run.Attr
	both := io.MultiWriter(log, input)
	g.cmd.Stdout, g.cmd.Stderr = both, both
	if err := g.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the gateway: %w", err), log.Close())
	}
	for _, file := range []string{"cmdline", "environ"} { // Linux: what other users' tools can see
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", g.cmd.Process.Pid, file)); err == nil {
			b.Saw("the gateway's "+file, data)
		}
	}
	go g.read(output)
	go func() {
		g.err = g.cmd.Wait()
		input.Close()
		log.Close()
		close(g.exited)
	}()
	return g, nil
}

// Serving waits until the gateway says that it serves; URL and Admin are set
// then.
func (g *Gateway) Serving(ctx context.Context) error {
	select {
	case <-g.serving:
		return nil
	case <-g.exited:
		return fmt.Errorf("the gateway ended before it served: %w", errors.Join(g.err, errEnded))
	case <-ctx.Done():
		return fmt.Errorf("the gateway does not serve: %w", context.Cause(ctx))
	}
}

var errEnded = errors.New("see its log")

// read looks for the line of the log that tells the addresses, and drains it.
func (g *Gateway) read(output io.Reader) {
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadBytes('\n')
		var entry struct{ Msg, Listen, Admin string }
		if g.URL == "" && json.Unmarshal(line, &entry) == nil && entry.Msg == "serving" {
			g.Listen, g.URL, g.Admin = entry.Listen, "http://"+entry.Listen, "http://"+entry.Admin
			close(g.serving)
		}
		if err != nil {
			return
		}
	}
}

// Stop asks the gateway to end, and waits until it has. Its exit status must be
// 0.
func (g *Gateway) Stop(ctx context.Context) error {
	if err := g.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the gateway: %w", err)
	}
	return g.Ended(ctx)
}

// Ended waits until a gateway that was asked to end has done so, with exit
// status 0.
func (g *Gateway) Ended(ctx context.Context) error {
	select {
	case <-g.exited:
	case <-ctx.Done():
		return fmt.Errorf("the gateway does not end: %w", context.Cause(ctx))
	}
	if g.err != nil {
		return fmt.Errorf("the gateway ended badly: %w", g.err)
	}
	return nil
}

// Kill ends the gateway as a crash does, and waits until it is gone.
func (g *Gateway) Kill() {
	g.cmd.Process.Kill()
	<-g.exited
}

// Signal sends the gateway a signal.
func (g *Gateway) Signal(s os.Signal) error { return g.cmd.Process.Signal(s) }

// PID is the gateway's process.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }
