package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vaultspan/vaultspan/telemetry"
)

func (p *program) demoCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run everything in one process, on loopback",
		Long: `Run an OpenID provider, an emulator of Bitwarden Secrets Manager, two upstreams
that demand the right credential and one for people, and the gateway before them: the same code as
serve, on loopback. It prints commands to copy, and after each request draws its
span tree. Ctrl-C ends it and leaves nothing behind.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return p.demo(c.Context(), dir) },
	}
	c.Flags().StringVar(&dir, "dir", "", "keep the configuration and the audit log in this new `directory` (default: a temporary one, removed at the end)")
	c.MarkFlagDirname("dir")
	return c
}

// demo runs until ctx ends.
func (p *program) demo(ctx context.Context, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "vaultspan-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("--dir: name a directory that is not there yet: %w", err)
	}
	world, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer world.close()
	path, err := world.writeConfig(dir)
	if err != nil {
		return err
	}
	cfg, err := p.load(ctx, path)
	if err != nil {
		return err
	}
	guide, err := world.guide(cfg, dir)
	if err != nil {
		return err
	}
	tree := telemetry.NewTree(p.stdout, telemetry.TreeOptions{Color: isTerminal(p.stdout)})
	s := &server{
		program: &program{getenv: p.getenv, stdout: p.stdout, stderr: p.stderr},
		path:    path, text: true, processors: []sdktrace.SpanProcessor{tree},
		ready: func() { fmt.Fprint(p.stdout, guide) },
	}
	return s.run(ctx, cfg)
}

// self is how commands to copy call this binary.
func self() string {
	name, err := os.Executable()
	if err != nil {
		return "vaultspan"
	}
	real := func(path string) string {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			return resolved
		}
		return path
	}
	if found, err := exec.LookPath("vaultspan"); err == nil && real(found) == real(name) {
		return "vaultspan"
	}
	return name
}
