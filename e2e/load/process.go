package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a subject or the upstream: a process and its workers, in a group
// of their own.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string // the file that it writes to
	exited chan struct{}
	err    error // once exited

	ended    func(answered int) error // looks at what it left; may be nil
	profiles string                   // address that tells them, or ""
}

// start starts a program, which ends with ctx and with this process.
func start(ctx context.Context, log, name string, env []string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: filepath.Base(name), log: log, exited: make(chan struct{}), cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// ready waits until ask no longer fails.
func (p *process) ready(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return p.because(errors.Join(errors.New("it ended"), p.err))
		case <-ctx.Done():
			return p.because(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// listening asks whether a port is open.
func listening(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// answering asks whether a URL answers 200.
func answering(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", res.Status, body)
		}
		return err
	}
}

// because adds what the process wrote last.
func (p *process) because(err error) error {
	said, _ := os.ReadFile(p.log)
	said = said[max(0, len(said)-2000):]
	return fmt.Errorf("%s: %w\n%s", p.name, err, said)
}

// stop ends the process in good order, after so many answers.
func (p *process) stop(answered int) error {
	if err := p.cmd.Cancel(); err != nil {
		return p.because(err)
	}
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		return p.because(errors.New("it did not end"))
	}
	if p.err != nil && !p.terminated() {
		return p.because(p.err)
	}
	if p.ended == nil {
		return nil
	}
	return p.ended(answered)
}

// terminated says that the process ended by the signal that stop sends: HAProxy
// does, and has nothing to say about it.
func (p *process) terminated() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// freeAddress finds a loopback port that nobody uses now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
