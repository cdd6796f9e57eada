package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// run runs a command in the stage, as /bin/sh -c of the stage.
func (s *stage) run(ctx context.Context, c *instructions.RunCommand) (err error) {
	if s.scratch || !c.PrependShell || len(c.Files) > 0 {
		return errors.New("want one command for a shell, in a stage that has one")
	}
	for _, m := range instructions.GetMounts(c) {
		from := s.caches[m.Target]
		if m.Type != instructions.MountTypeCache || from == "" {
			return fmt.Errorf("no -cache serves the mount %s at %s", m.Type, m.Target)
		}
		at := filepath.Join(s.root(), m.Target)
		if err := bind(from, at); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, syscall.Unmount(at, 0)) }()
	}
	line := strings.Join(c.CmdLine, " ")
	fmt.Fprintf(os.Stderr, "RUN %s\n", line)
	command := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	command.Dir = s.config.WorkingDir
	command.Env = s.env.list()
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: s.root(), Pdeathsig: syscall.SIGKILL}
	return command.Run()
}
