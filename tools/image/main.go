// Command image runs a Dockerfile without a Docker engine, and writes the image
// as an OCI layout in a tar file.
//
// It is for this repository's Dockerfile, read with BuildKit's own parser: what
// that file does not use is refused, not skipped. Each stage but the last runs in
// an overlay on this machine's own root file system, which stands for the base
// image: a command sees this machine's programs, an empty home and an empty /tmp,
// and changes nothing here. The last stage begins with nothing.
//
// It trusts the Dockerfile: its commands run as root, with this machine's network.
// It needs root, because the root file system cannot lie under an overlay in a user
// namespace: what is mounted on it may not be uncovered there.
//
// The same files and the same commit give the same bytes: one layer, sorted,
// owned as COPY says, every time in it that of the commit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		stop()
		os.Exit(1)
	}
}

// inside marks the process that has namespaces of its own.
const inside = "VAULTSPAN_IMAGE_INSIDE"

func run(ctx context.Context, args []string) error {
	b := &builder{caches: map[string]string{}}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: image [flags] DIRECTORY, which holds the Dockerfile")
		flags.PrintDefaults()
	}
	out := flags.String("o", "image.tar", "write the layout to this `file`")
	archs := flags.String("archs", runtime.GOARCH, "the `architectures` to build, with spaces between")
	flags.StringVar(&b.host, "host", "", "do not run this `stage`: take this machine as its result")
	flags.Func("cache", "`target=directory` that serves a cache mount", func(text string) error {
		target, dir, ok := strings.Cut(text, "=")
		if !ok || !filepath.IsAbs(dir) {
			return errors.New("want target=/an/absolute/directory")
		}
		b.caches[target] = dir
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return errors.New("name one directory")
	}
	if os.Getenv(inside) == "" {
		return isolate(ctx, args)
	}
	return b.write(ctx, flags.Arg(0), strings.Fields(*archs), *out)
}

// isolate runs this program again where its mounts are seen by nobody else, and
// vanish with it.
func isolate(ctx context.Context, args []string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	again := exec.CommandContext(ctx, exe, args...)
	again.Env = append(os.Environ(), inside+"=1")
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.Cancel = func() error { return again.Process.Signal(syscall.SIGTERM) }
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	err = again.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		os.Exit(exit.ExitCode()) // it has said why
	}
	if err != nil {
		return fmt.Errorf("mounting needs root (docker build does not): %w", err)
	}
	return nil
}
