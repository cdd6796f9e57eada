package audit_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
)

// written makes a small log of two segments with several checkpoints, and
// returns its files.
func written(t *testing.T) (b *bench, files map[string][]byte) {
	b = newBench(t)
	for n := range 2 {
		l := b.open()
		b.intent(l, n)
		if n == 1 { // the first is left open across a restart
			l.Outcome(outcome(n))
		}
		l.Refusal(audit.Event{Code: "no-route", Status: 404, Path: "/a\r\nb"})
		b.close(l)
	}
	files = map[string][]byte{}
	for _, name := range append(b.segments(), filepath.Join(b.setup.Config.Dir, "checkpoint")) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	b.whole()
	return b, files
}

// tampered puts files in place of the log, verifies it, and puts the log back.
func (b *bench) tampered(files map[string][]byte, since ...string) error {
	b.t.Helper()
	if err := os.RemoveAll(b.setup.Config.Dir); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Mkdir(b.setup.Config.Dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	_, err := b.verify(since...)
	return err
}

func with(files map[string][]byte, name string, data []byte) map[string][]byte {
	out := map[string][]byte{}
	maps.Copy(out, files)
	if out[name] = data; data == nil {
		delete(out, name)
	}
	return out
}

func damage(t *testing.T, err error, what ...string) *audit.Damage {
	t.Helper()
	d, ok := errors.AsType[*audit.Damage](err)
	if !ok {
		t.Fatalf("not found: %v", err)
	}
	if len(what) > 0 && !slices.Contains(what, d.What) {
		t.Fatalf("found as %v, want %v", d, what)
	}
	return d
}

// N05, and the chain's reason to be.
func TestEveryFlippedBitIsFoundInItsLine(t *testing.T) {
	b, files := written(t)
	b.tampered(files)
	for name, data := range files {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		put := func(c byte, at int) {
			if _, err := f.WriteAt([]byte{c}, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		line := 1
		for i, c := range data {
			for _, bit := range []byte{0x01, 0x04, 0x20, 0x80} {
				if bit != 0x04 && i%31 != 0 {
					continue // every byte once, some in four ways
				}
				put(c^bit, i)
				_, err := b.verify()
				if err == nil {
					t.Fatalf("%s:%d, byte %d of it flipped (%q to %q): not found", filepath.Base(name), line, i, c, c^bit)
				}
				d := damage(t, err)
				if d.File != filepath.Base(name) || filepath.Ext(name) == ".jsonl" && d.Line != line {
					t.Fatalf("%s:%d, byte %d of it flipped (%q to %q): found as %v", filepath.Base(name), line, i, c, c^bit, d)
				}
			}
			if put(c, i); c == '\n' {
				line++
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.whole()
}

// N06, N07, N08: given the public key alone.
func TestDeletedDoubledAndSwappedLinesAreFound(t *testing.T) {
	b, files := written(t)
	names := b.segments()
	for _, name := range names {
		file := filepath.Base(name)
		lines := bytes.SplitAfter(files[name], []byte("\n"))
		lines = lines[:len(lines)-1]
		last := name == names[1]
		for i := range lines {
			// A cut at the end is for the checkpoint file to find.
			deleted := slices.Concat(lines[:i:i], lines[i+1:])
			d := damage(t, b.tampered(with(files, name, bytes.Join(deleted, nil))), audit.Deleted, audit.Truncated)
			if i < len(lines)-1 && (d.File != file || d.Line != i+1 || d.What != audit.Deleted) {
				t.Errorf("%s:%d deleted: found as %v", file, i+1, d)
			}
			doubled := slices.Concat(lines[:i+1:i+1], lines[i:])
			d = damage(t, b.tampered(with(files, name, bytes.Join(doubled, nil))), audit.Inserted)
			if d.File != file || d.Line != i+2 {
				t.Errorf("%s:%d doubled: found as %v", file, i+1, d)
			}
			for j := i + 1; j < len(lines); j++ {
				swapped := slices.Clone(lines)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				d = damage(t, b.tampered(with(files, name, bytes.Join(swapped, nil))), audit.Reordered)
				if d.File != file || d.Line != i+1 {
					t.Errorf("%s: %d and %d swapped: found as %v", file, i+1, j+1, d)
				}
			}
			junk := slices.Insert(slices.Clone(lines), i, []byte("{\"kind\":\"intent\"}\n"))
			d = damage(t, b.tampered(with(files, name, bytes.Join(junk, nil))), audit.Inserted)
			if d.File != file || d.Line != i+1 {
				t.Errorf("%s:%d junk inserted: found as %v", file, i+1, d)
			}
		}
		d := damage(t, b.tampered(with(files, name, nil)))
		if want := map[bool]string{false: audit.Deleted, true: audit.Truncated}[last]; d.What != want {
			t.Errorf("%s removed: found as %v, want %s", file, d, want)
		}
	}
	checkpoint := filepath.Join(b.setup.Config.Dir, "checkpoint")
	damage(t, b.tampered(with(files, checkpoint, nil)), audit.Deleted)
}

// N09, N10: what was cut at the end is found by the last checkpoint: the local
// one, or when that was taken too, one kept elsewhere.
func TestEveryTruncationIsFoundByACheckpoint(t *testing.T) {
	b, files := written(t)
	checkpoint := filepath.Join(b.setup.Config.Dir, "checkpoint")
	head := b.published()[len(b.published())-1]
	names := b.segments()
	slices.Reverse(names)
	for _, kept := range [][]string{nil, {head}} {
		left := files
		if kept != nil {
			left = with(files, checkpoint, nil)
		}
		for _, name := range names {
			if err := b.tampered(left, kept...); err != nil && kept == nil && name == names[0] {
				t.Fatal(err)
			}
			for size := len(files[name]) - 1; size >= 0; size-- {
				if err := os.Truncate(name, int64(size)); err != nil {
					t.Fatal(err)
				}
				_, err := b.verify(kept...)
				damage(t, err, audit.Truncated)
			}
			left = with(left, name, nil)
		}
	}
}

// N10: yesterday's directory is put back, and written on.
func TestARolledBackLogIsFoundByACheckpointKeptElsewhere(t *testing.T) {
	b, files := written(t)
	before := len(b.published())
	l := b.open()
	b.intent(l, 10)
	l.Outcome(outcome(10))
	b.close(l)
	kept := b.published()[before:]

	damage(t, b.tampered(files, kept...), audit.Truncated)
	if err := b.tampered(files, b.published()[:before]...); err != nil {
		t.Fatal(err)
	}
	l = b.open()
	for n := range 20 {
		b.intent(l, 20+n)
		l.Outcome(outcome(20 + n))
	}
	b.close(l)
	b.whole0()
	_, err := b.verify(kept...)
	damage(t, err, audit.Replaced)
	_, err = b.verify(kept[len(kept)-1])
	damage(t, err, audit.Replaced)
}

// whole0 verifies with the key alone.
func (b *bench) whole0() audit.Report {
	b.t.Helper()
	r, err := b.verify()
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// A log that was edited while nobody wrote it is not signed again.
func TestOpenRefusesToSignWhatContradictsItsCheckpoint(t *testing.T) {
	b, files := written(t)
	last := b.segments()[1]
	checkpoint := filepath.Join(b.setup.Config.Dir, "checkpoint")
	lines := bytes.SplitAfter(files[last], []byte("\n"))
	edited := bytes.Replace(files[last], []byte(`"alice"`), []byte(`"mally"`), 1)
	for name, files := range map[string]map[string][]byte{
		"truncated":                     with(files, last, bytes.Join(lines[:3], nil)),
		"cut inside a record":           with(files, last, files[last][:len(files[last])-20]),
		"edited":                        with(files, last, edited),
		"edited, checkpoint file gone":  with(with(files, last, edited), checkpoint, nil),
		"garbled, checkpoint file gone": with(with(files, last, bytes.Replace(files[last], []byte(`"alice"`), []byte(`"al`), 1)), checkpoint, nil),
		"garbled first line":            with(with(files, last, files[last][1:]), checkpoint, nil),
		"last segment gone":             with(files, last, nil),
		"no segment":                    {checkpoint: files[checkpoint]},
		"checkpoint file of another":    with(files, checkpoint, []byte("x\n")),
	} {
		damage(t, b.tampered(files))
		l, err := audit.Open(b.setup)
		if err == nil {
			l.Close(context.Background())
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), "checkpoint") && !strings.Contains(err.Error(), "contradicts") {
			t.Errorf("%s: says %v", name, err)
		}
		for n, data := range files {
			if now, _ := os.ReadFile(n); !bytes.Equal(now, data) {
				t.Errorf("%s: Open changed %s", name, filepath.Base(n))
			}
		}
	}
}

func TestAnotherKeyDoesNotVerify(t *testing.T) {
	b, _ := written(t)
	_, public, err := audit.Keygen("gw.test/audit")
	if err != nil {
		t.Fatal(err)
	}
	_, err = audit.Verify(audit.VerifyOptions{Dir: b.setup.Config.Dir, PublicKey: public})
	damage(t, err)
	other := newBench(t)
	setup := b.setup
	setup.Config.Key = other.setup.Config.Key
	if _, err := audit.Open(setup); err == nil {
		t.Error("opened with another key")
	}
}
