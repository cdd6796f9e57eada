package audit_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/audit"
)

// disk opens real files and puts faults between the log and them.
type disk struct {
	mu     sync.Mutex
	files  []*file
	create func() error
	write  func([]byte) (int, error) // how much to write for real, and the error
	sync   func() error
}

type file struct {
	*os.File
	disk   *disk
	failed bool
	after  []string // what was called after a failure
	synced int64    // bytes behind a returned fsync
	size   int64
}

func (d *disk) open(path string) (audit.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.create != nil {
		if err := d.create(); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := &file{File: f, disk: d}
	d.files = append(d.files, w)
	return w, nil
}

// set changes the faults while the log is in use.
func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (f *file) fault(call string) (w func([]byte) (int, error), s func() error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.failed {
		f.after = append(f.after, call)
	}
	return f.disk.write, f.disk.sync
}

func (f *file) Write(b []byte) (int, error) {
	fault, _ := f.fault("write")
	if fault != nil {
		if n, err := fault(b); err != nil {
			f.failed = true
			n, _ = f.File.Write(b[:n])
			return n, err
		}
	}
	n, err := f.File.Write(b)
	f.size += int64(n)
	return n, err
}

func (f *file) Sync() error {
	_, fault := f.fault("sync")
	if fault != nil {
		if err := fault(); err != nil {
			f.failed = true
			return err
		}
	}
	f.disk.mu.Lock()
	f.synced = f.size
	f.disk.mu.Unlock()
	return nil
}

func (f *file) Close() error {
	f.fault("close")
	return f.File.Close()
}

// once fails one call.
func once(err error) func() error {
	return func() error {
		defer func() { err = nil }()
		return err
	}
}

func faulty(t testing.TB) (*bench, *disk) {
	b, d := newBench(t), &disk{}
	b.setup.Create = d.open
	b.setup.Logger = slog.New(slog.NewTextHandler(&locked{w: &b.process, mu: &b.mu}, nil))
	return b, d
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// said counts a phrase in the process log.
func (b *bench) said(phrase string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.process.String(), phrase)
}

// N01: an intent's caller goes on only behind an fsync that returned.
func TestAnIntentReturnsAfterItsFsync(t *testing.T) {
	b, d := faulty(t)
	l := b.open()
	defer b.close(l)
	for n := range 50 {
		b.intent(l, n)
		d.mu.Lock()
		f := d.files[len(d.files)-1]
		data, err := os.ReadFile(f.Name())
		if err != nil || !strings.Contains(string(data[:f.synced]), attempt(n).Attempt) {
			t.Fatalf("intent %d is not in the synced part (%v)", n, err)
		}
		d.mu.Unlock()
	}
}

// FA02: after a failed fsync, or a failed or short write, the descriptor is
// closed and no more; the records go into a new segment; callers notice nothing.
func TestAfterAFailureTheSegmentIsSealedAndNeverTriedAgain(t *testing.T) {
	eio := &os.PathError{Op: "sync", Path: "segment", Err: syscall.EIO}
	for _, c := range []struct {
		id   string
		fail func(*disk)
	}{
		{"FA02 fsync", func(d *disk) { d.sync = once(eio) }},
		{"FA02 write", func(d *disk) {
			fail := once(eio)
			d.write = func([]byte) (int, error) { return 0, fail() }
		}},
		{"FA02 short write", func(d *disk) {
			fail := once(io.ErrShortWrite)
			d.write = func(b []byte) (int, error) { return len(b) / 2, fail() }
		}},
	} {
		t.Run(c.id, func(t *testing.T) {
			b, d := faulty(t)
			l := b.open()
			b.intent(l, 1)
			d.set(c.fail)
			b.intent(l, 2)
			if len(d.files) != 2 || len(d.files[0].after) != 1 || d.files[0].after[0] != "close" {
				t.Errorf("%d segments; after the failure: %v", len(d.files), d.files[0].after)
			}
			l.Outcome(outcome(1))
			l.Outcome(outcome(2))
			b.close(l)
			if r := b.whole(); r.Intents != 2 || r.Outcomes != 2 || r.Segments != 2 {
				t.Errorf("report: %+v", r)
			}
			if err := l.Err(); b.said("sealed after a failure") != 1 || err == nil {
				t.Errorf("process log: %s", &b.process)
			}
		})
	}
}

// What a failed write left behind a seal is no part of the log, whether it could
// be cut off or not; elsewhere the same bytes are an insertion.
func TestBytesBehindASealAreNotTheLog(t *testing.T) {
	b, d := faulty(t)
	l := b.open()
	b.intent(l, 1)
	d.set(func(d *disk) { d.sync = once(syscall.EIO) })
	b.intent(l, 2)
	l.Outcome(outcome(1))
	b.close(l)
	l = b.open()
	b.close(l)
	names := b.segments()
	junk := "\x00\x00\x00" + `{"seq":9` + "\n" + `{"seq":10}`
	add := func(name string) {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(junk); err != nil {
			t.Fatal(err)
		}
	}
	add(names[0])
	if r := b.whole(); r.Ignored != int64(len(junk)) {
		t.Errorf("report: %+v", r)
	}
	add(names[1])
	_, err := b.verify()
	damage(t, err)
}

// FA15 and a full disk: fail closed at once, say so once, and recover alone.
func TestADiskThatIsFullClosesTheDoorUntilItIsNot(t *testing.T) {
	for _, c := range []struct {
		id    string
		errno syscall.Errno
	}{{"disk full", syscall.ENOSPC}, {"FA15", syscall.EDQUOT}} {
		synctest.Test(t, func(t *testing.T) {
			b, d := faulty(t)
			l := b.open()
			b.intent(l, 1)
			d.set(func(d *disk) {
				d.write = func(b []byte) (int, error) { return len(b) / 3, c.errno }
			})
			if _, err := l.Intent(t.Context(), attempt(2)); !errors.Is(err, c.errno) {
				t.Fatalf("intent: %v", err)
			}
			if err := l.Err(); !errors.Is(err, c.errno) {
				t.Fatalf("Err: %v", err)
			}
			// While it lasts: nothing waits, nothing is lost, nothing piles up.
			l.Outcome(outcome(1))
			for n := range 5000 {
				if _, err := l.Intent(t.Context(), attempt(100+n)); !errors.Is(err, c.errno) {
					t.Fatalf("%s: intent: %v", c.id, err)
				}
				l.Refusal(audit.Event{Code: "audit-unavailable", Status: 503, Client: "192.0.2.1"})
			}
			l.Change(audit.Event{Code: "reload"})
			d.set(func(d *disk) { d.write = nil })
			time.Sleep(10 * time.Second) // more than the longest back-off
			b.intent(l, 3)
			b.close(l)
			if r := b.whole(); r.Intents != 2 || r.Outcomes != 1 || r.Refusals != 5000 || r.Changes != 1 {
				t.Errorf("report: %+v", r)
			}
			if b.said("cannot be written") == 0 || b.said("level=ERROR") != 1 || b.said("written again") != 1 {
				t.Errorf("process log: %s", &b.process)
			}
		})
	}
}

// FA08: files that were unlinked accept writes for ever.
func TestARemovedDirectoryFailsClosed(t *testing.T) {
	for name, remove := range map[string]func(dir string) error{
		"FA08 removed":  os.RemoveAll,
		"FA08 replaced": func(dir string) error { return errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := faulty(t)
			l := b.open()
			b.intent(l, 1)
			if err := remove(b.setup.Config.Dir); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Intent(t.Context(), attempt(2)); err == nil {
				t.Error("an intent was accepted into nothing")
			}
			if l.Err() == nil || b.said("level=ERROR") != 1 {
				t.Errorf("Err: %v; process log: %s", l.Err(), &b.process)
			}
			if err := l.Close(context.Background()); err == nil {
				t.Error("Close lost a record without a word")
			}
		})
	}
}

// FA08: and comes back when the directory does.
func TestADirectoryThatComesBackIsWrittenAgain(t *testing.T) {
	synctest.Test(t, comesBack)
}

func comesBack(t *testing.T) {
	b, _ := faulty(t)
	l := b.open()
	b.intent(l, 1)
	dir := b.setup.Config.Dir
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Intent(t.Context(), attempt(2)); err == nil {
		t.Error("an intent was accepted into nothing")
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	l.Outcome(outcome(1))
	b.intent(l, 3)
	b.close(l)
	b.whole()
}

func TestANewSegmentThatCannotBeBegunAtOpenIsAnError(t *testing.T) {
	b, d := faulty(t)
	d.create = func() error { return syscall.EMFILE }
	if _, err := audit.Open(b.setup); !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("Open: %v", err)
	}
	d.create = nil
	b.close(b.open())
	b.whole()
}

// One process owns a directory.
func TestADirectoryInUseIsRefused(t *testing.T) {
	b := newBench(t)
	l := b.open()
	if _, err := audit.Open(b.setup); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("Open: %v", err)
	}
	b.close(l)
	b.close(b.open())
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	b := newBench(t)
	b.close(b.open())
	entries, err := os.ReadDir(b.setup.Config.Dir)
	if err != nil || len(entries) != 3 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(b.setup.Config.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v %v", info.Mode(), err)
	}
}
