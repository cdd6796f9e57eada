package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// builder runs the stages of one Dockerfile.
type builder struct {
	host   string            // the stage that this machine stands for
	caches map[string]string // directories by the target of a cache mount

	dir      string // the context
	ignore   *patternmatcher.PatternMatcher
	work     string    // for the stages' file systems
	revision string    // of the context: what REVISION is
	epoch    time.Time // the time of everything in the image
}

// write builds an image for each architecture into one layout.
func (b *builder) write(ctx context.Context, dir string, archs []string, out string) (err error) {
	if len(archs) == 0 {
		return fmt.Errorf("name an architecture, such as %s", runtime.GOARCH)
	}
	syscall.Umask(0o022)
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts to ourselves: %w", err)
	}
	if b.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := b.examine(ctx); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp("", "vaultspan-image-"); err != nil {
		return err
	}
	defer b.clean()
	var images []v1.Image
	for _, arch := range archs {
		last, err := b.build(ctx, arch)
		if err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		image, err := b.image(last, arch)
		if err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		images = append(images, image)
	}
	return b.save(images, out)
}

// clean removes the stages, once nothing is mounted there.
func (b *builder) clean() {
	mounts, _ := filepath.Glob(b.work + "/*/root")
	for _, root := range mounts {
		for _, at := range []string{"proc", "dev", "tmp", "root", ""} {
			syscall.Unmount(filepath.Join(root, at), syscall.MNT_DETACH)
		}
	}
	os.RemoveAll(b.work)
}

// examine reads what the context says about itself.
func (b *builder) examine(ctx context.Context) error {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", b.dir}, args...)...).Output()
		if err != nil {
			return "" // no repository: no revision, and the time of 1970
		}
		return strings.TrimSpace(string(out))
	}
	b.revision = git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
	seconds, _ := strconv.ParseInt(git("log", "-1", "--format=%ct"), 10, 64)
	b.epoch = time.Unix(seconds, 0).UTC()

	var patterns []string
	if f, err := os.Open(filepath.Join(b.dir, ".dockerignore")); err == nil {
		defer f.Close()
		if patterns, err = ignorefile.ReadAll(f); err != nil {
			return fmt.Errorf(".dockerignore: %w", err)
		}
	}
	var err error
	b.ignore, err = patternmatcher.New(patterns)
	return err
}

// build runs every stage for an architecture and returns the last.
func (b *builder) build(ctx context.Context, arch string) (*stage, error) {
	f, err := os.Open(filepath.Join(b.dir, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("reading the Dockerfile: %w", err)
	}
	declared, global, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the Dockerfile: %w", err)
	}
	given := variables{
		"BUILDARCH": runtime.GOARCH, "BUILDPLATFORM": "linux/" + runtime.GOARCH,
		"TARGETARCH": arch, "TARGETPLATFORM": "linux/" + arch, "REVISION": b.revision,
	}
	args := variables{}
	for _, c := range global {
		if err := args.declare(&c, given); err != nil {
			return nil, err
		}
	}
	stages := map[string]*stage{}
	var last *stage
	for i, d := range declared {
		base, err := args.merged(given).expand(d.BaseName)
		if err != nil {
			return nil, err
		}
		last = &stage{
			builder: b, dir: filepath.Join(b.work, arch+strconv.Itoa(i)), name: d.Name, from: stages,
			given: given, global: args, env: variables{}, owners: map[string]owner{},
		}
		if err := last.begin(base); err != nil {
			return nil, fmt.Errorf("stage %d: %w", i, err)
		}
		stages[d.Name] = last
		if d.Name != "" && d.Name == b.host {
			continue
		}
		for _, c := range d.Commands {
			if err := last.do(ctx, c); err != nil {
				return nil, fmt.Errorf("line %d: %s: %w", c.Location()[0].Start.Line, c.Name(), err)
			}
		}
	}
	if last == nil || !last.scratch {
		return nil, errors.New("the last stage is not FROM scratch")
	}
	return last, nil
}
