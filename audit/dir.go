package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The files of a directory that are not segments.
const (
	lockName       = "lock"
	checkpointName = "checkpoint"
	segmentSuffix  = ".jsonl"
	tornSuffix     = ".torn"
)

// segmentName is the file of the segment whose first record is seq.
func segmentName(seq uint64) string { return fmt.Sprintf("%012d%s", seq, segmentSuffix) }

// segmentsOf lists the first record of each segment of dir, in order.
func segmentsOf(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list audit directory: %w", err)
	}
	var firsts []uint64
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(base, 10, 63)
		if err != nil || segmentName(first) != e.Name() {
			return nil, &Damage{File: e.Name(), What: Inserted, Detail: "is not the name of a segment"}
		}
		firsts = append(firsts, first)
	}
	slices.Sort(firsts)
	return firsts, nil
}

// lock makes this process the owner of dir, until the file is closed or the
// process ends, however it ends.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock audit directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("audit directory %s is in use by another process (pid %s): one process owns a log",
				dir, strings.TrimSpace(string(holder[:n])))
		}
		return nil, fmt.Errorf("lock audit directory %s: %w", dir, err)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintln(os.Getpid()))); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock audit directory: %w", err)
	}
	return f, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// inPlace reports why path is no longer the file that was opened as info: a
// directory that was removed, replaced or closed to us keeps accepting writes
// through an old descriptor, into nothing.
func inPlace(path string, info fs.FileInfo) error {
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(now, info) {
		return fmt.Errorf("%s was replaced by another file", path)
	}
	return nil
}

// syncDir makes a created, renamed or removed name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replace writes a small file whole: a reader, or a crash, meets the old
// content or the new.
func replace(dir, name, content string) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
