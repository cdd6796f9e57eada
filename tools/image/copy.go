package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// copy does a COPY of one source, from the context or an earlier stage: a
// directory's content into the destination, or a file.
func (s *stage) copy(c *instructions.CopyCommand) error {
	if len(c.SourcePaths) != 1 || len(c.SourceContents) > 0 || c.Chmod != "" || c.Link || c.Parents || len(c.ExcludePatterns) > 0 {
		return errors.New("want COPY [--from=STAGE] [--chown=UID:GID] SOURCE DESTINATION")
	}
	t := transfer{stage: s, from: s.builder.dir}
	if c.From != "" {
		earlier := s.from[c.From]
		if earlier == nil {
			return fmt.Errorf("no stage is called %s", c.From)
		}
		t.from = earlier.root()
	} else {
		t.skip = s.ignore.MatchesOrParentMatches
	}
	if c.Chown != "" {
		user, group, _ := strings.Cut(c.Chown, ":")
		uid, err := strconv.Atoi(user)
		gid, err2 := strconv.Atoi(group)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("--chown: want numbers: %w", err)
		}
		t.owner = owner{uid, gid}
	}
	t.from = filepath.Join(t.from, c.SourcePaths[0])
	t.to = c.DestPath
	if !filepath.IsAbs(t.to) {
		t.to = filepath.Join(s.config.WorkingDir, t.to)
	}
	info, err := os.Stat(t.from)
	if err != nil {
		return err
	}
	if !info.IsDir() && strings.HasSuffix(c.DestPath, "/") {
		t.to = filepath.Join(t.to, filepath.Base(t.from))
	}
	// Docker gives the parents that it makes the new owner too: be clear instead.
	if _, err := os.Stat(filepath.Join(s.root(), filepath.Dir(t.to))); err != nil {
		return fmt.Errorf("make the parent first: %w", err)
	}
	return filepath.WalkDir(t.from, t.visit)
}

// transfer is one COPY under way.
type transfer struct {
	*stage
	from, to string // the source on this machine, the destination in the stage
	owner    owner
	skip     func(name string) (bool, error)
}

// visit copies one file, link or directory.
func (t transfer) visit(path string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	name, err := filepath.Rel(t.from, path)
	if err != nil {
		return err
	}
	if t.skip != nil && name != "." {
		if skip, err := t.skip(name); err != nil {
			return err
		} else if skip && d.IsDir() {
			return filepath.SkipDir // no pattern of ours takes back what another leaves out
		} else if skip {
			return nil
		}
	}
	inside := filepath.Join(t.to, name)
	target := filepath.Join(t.root(), inside)
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		err = os.Mkdir(target, 0o755)
		if errors.Is(err, fs.ErrExist) {
			return nil // and stays as it was
		}
	case d.Type().IsRegular():
		err = copyFile(path, target)
	case d.Type() == fs.ModeSymlink:
		var to string
		if to, err = os.Readlink(path); err == nil {
			err = os.Symlink(to, target)
		}
		if err == nil {
			t.owners[inside] = t.owner
		}
		return err
	default:
		return fmt.Errorf("%s is no file: %s", name, d.Type())
	}
	if err != nil {
		return err
	}
	t.owners[inside] = t.owner
	return os.Chmod(target, info.Mode().Perm())
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
