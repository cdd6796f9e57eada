package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// stage is one FROM under way.
type stage struct {
	*builder
	name    string
	from    map[string]*stage // the earlier ones
	dir     string            // for the file system, and what its overlay needs
	scratch bool

	given, global variables // arguments of the command line, and from before the first FROM
	env           variables // arguments and ENV, for commands to see
	config        v1.Config
	owners        map[string]owner // of files in root, by path; all others are root's
}

// owner is what COPY --chown says.
type owner struct{ uid, gid int }

// root is where the stage's file system is.
func (s *stage) root() string {
	if s.name != "" && s.name == s.host {
		return "/"
	}
	return filepath.Join(s.dir, "root")
}

// begin makes the stage's file system.
func (s *stage) begin(base string) error {
	s.config.WorkingDir = "/"
	lower := "/"
	switch earlier := s.from[base]; {
	case base == "scratch":
		s.scratch = true
		return os.MkdirAll(s.root(), 0o755)
	case earlier != nil:
		lower = earlier.root()
		s.env = s.env.merged(earlier.env)
	case strings.HasPrefix(base, "golang:"): // the variables that image sets
		program, err := exec.LookPath("go")
		if err != nil {
			return err
		}
		s.env = variables{
			"PATH":   filepath.Dir(program) + ":/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"GOPATH": "/go", "GOTOOLCHAIN": "local", "HOME": "/root",
		}
	default:
		return fmt.Errorf("this machine does not stand for %s", base)
	}
	if s.root() == "/" {
		return nil
	}
	for _, name := range []string{"root", "upper", "work", "home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.dir+"/tmp", 0o777|fs.ModeSticky); err != nil { // apt verifies as a user of its own
		return err
	}
	options := "lowerdir=" + lower + ",upperdir=" + s.dir + "/upper,workdir=" + s.dir + "/work"
	if err := syscall.Mount("overlay", s.root(), "overlay", 0, options); err != nil {
		return fmt.Errorf("no overlay on this machine's root: %w", err)
	}
	for at, what := range map[string]string{"proc": "/proc", "dev": "/dev", "tmp": s.dir + "/tmp", "root": s.dir + "/home"} {
		if err := bind(what, filepath.Join(s.root(), at)); err != nil {
			return err
		}
	}
	return nil
}

// bind makes a directory appear at another place as well.
func bind(what, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(what, at, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s: %w", what, err)
	}
	return nil
}

// do carries out one instruction.
func (s *stage) do(ctx context.Context, c instructions.Command) error {
	if e, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if _, isArg := c.(*instructions.ArgCommand); !isArg {
			if err := e.Expand(s.env.expand); err != nil {
				return err
			}
		}
	}
	switch c := c.(type) {
	case *instructions.ArgCommand:
		return s.env.declare(c, s.global.merged(s.given))
	case *instructions.WorkdirCommand:
		if !filepath.IsAbs(c.Path) {
			return errors.New("want an absolute path")
		}
		s.config.WorkingDir = c.Path
		return os.MkdirAll(filepath.Join(s.root(), c.Path), 0o755)
	case *instructions.CopyCommand:
		return s.copy(c)
	case *instructions.RunCommand:
		return s.run(ctx, c)
	}
	return s.configure(c)
}

// configure does the instructions that say how to run the image.
func (s *stage) configure(c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.LabelCommand:
		if s.config.Labels == nil {
			s.config.Labels = map[string]string{}
		}
		for _, l := range c.Labels {
			s.config.Labels[l.Key] = l.Value
		}
	case *instructions.UserCommand:
		s.config.User = c.User
	case *instructions.ExposeCommand:
		s.config.ExposedPorts = map[string]struct{}{}
		for _, port := range c.Ports {
			s.config.ExposedPorts[port+"/tcp"] = struct{}{}
		}
	case *instructions.VolumeCommand:
		s.config.Volumes = map[string]struct{}{}
		for _, path := range c.Volumes {
			s.config.Volumes[path] = struct{}{}
		}
	case *instructions.StopSignalCommand:
		s.config.StopSignal = c.Signal
	case *instructions.HealthCheckCommand:
		h := c.Health
		s.config.Healthcheck = &v1.HealthConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	case *instructions.EntrypointCommand:
		s.config.Entrypoint = c.CmdLine
		return wantExec(c.PrependShell)
	case *instructions.CmdCommand:
		s.config.Cmd = c.CmdLine
		return wantExec(c.PrependShell)
	default:
		return errors.New("this program does not know the instruction")
	}
	return nil
}

// wantExec refuses the form that needs a shell.
func wantExec(shell bool) error {
	if shell {
		return errors.New(`want the form ["program", "argument"]: the image has no shell`)
	}
	return nil
}
