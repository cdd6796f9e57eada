package audit_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A disk that is really full: a small tmpfs, filled up by somebody else.
func TestARealDiskThatIsFull(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("only where a tmpfs may be mounted (the seam stands in for it elsewhere): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	b := newBench(t)
	b.setup.Config.Dir = filepath.Join(mount, "audit")
	again := make(chan struct{})
	b.setup.Logger = slog.New(slog.NewTextHandler(listener{"written again", again}, nil))
	l := b.open()
	b.intent(l, 0)
	filler := filepath.Join(mount, "filler")
	if err := os.WriteFile(filler, make([]byte, 300<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling up: %v", err)
	}
	accepted := uint64(1)
	var err error
	for n := 1; err == nil && n < 1000; n++ {
		if _, err = l.Intent(t.Context(), attempt(n)); err == nil {
			accepted++
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(l.Err(), syscall.ENOSPC) {
		t.Fatalf("after %d intents: %v; Err: %v", accepted, err, l.Err())
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	<-again
	b.intent(l, 2000)
	b.close(l)
	if r := b.whole(); r.Intents != accepted+1 || r.Ignored != 0 {
		t.Errorf("%d accepted; report: %+v", accepted+1, r)
	}
}

// listener closes heard at the first line of a process log that has a phrase.
type listener struct {
	phrase string
	heard  chan struct{}
}

func (l listener) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(l.phrase)) {
		close(l.heard)
	}
	return len(line), nil
}
