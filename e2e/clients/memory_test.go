package clients_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"
)

// searchMemory looks for the vault's keys in a client that is running: in its
// environment, its command line, and every page of its memory that is not a copy
// of a file. It has to find the caller's own token there, or it is blind.
func (w *world) searchMemory(t *testing.T, s *script, token string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows a process's memory as files")
	}
	pid := s.cmd.Process.Pid
	for _, file := range []string{"environ", "cmdline"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, leak := range w.keys.Bytes("the client's "+file, data) {
			t.Errorf("a leak: %s", leak)
		}
	}
	began, total, found := time.Now(), 0, false
	err := eachRegion(pid, func(name string, data []byte) {
		total += len(data)
		found = found || bytes.Contains(data, []byte(token))
		for _, leak := range w.keys.Bytes("the client's memory at "+name, data) {
			t.Errorf("a leak: %s", leak)
		}
	})
	switch {
	case err != nil:
		t.Fatal(err)
	case !found:
		t.Errorf("the client's own token is not in %d MiB of its memory: the search is blind", total>>20)
	}
	t.Logf("searched %d MiB of the client's memory in %v", total>>20, time.Since(began).Round(time.Millisecond))
}

// eachRegion visits what a process has in memory, but for the files it runs
// from. The process stands still meanwhile.
func eachRegion(pid int, visit func(name string, data []byte)) (err error) {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)) }()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("process %d did not stop: %v, %w", pid, status, err)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return err
	}
	defer pages.Close()
	for region := range strings.Lines(string(maps)) {
		var from, to uint64
		var access string
		if _, err := fmt.Sscanf(region, "%x-%x %s", &from, &to, &access); err != nil {
			return fmt.Errorf("%q: %w", region, err)
		}
		copied := strings.Contains(region, "/") && access[1] != 'w'
		if access[0] != 'r' || copied || strings.Contains(region, "[v") { // what begins with v is the kernel's
			continue
		}
		data, err := present(mem, pages, from, to)
		if err != nil {
			return fmt.Errorf("%q: %w", region, err)
		}
		visit(strings.TrimSpace(region), data)
	}
	return nil
}

// present is a region without the pages that were never touched, of which a
// JavaScript engine reserves many.
func present(mem, pages io.ReaderAt, from, to uint64) ([]byte, error) {
	size := uint64(os.Getpagesize())
	entries := make([]byte, (to-from)/size*8)
	if _, err := pages.ReadAt(entries, int64(from/size*8)); err != nil {
		return nil, err
	}
	var data []byte
	for ; from < to; from, entries = from+size, entries[8:] {
		if binary.NativeEndian.Uint64(entries)>>62 == 0 { // neither in memory nor swapped out
			continue
		}
		at := len(data)
		data = append(data, make([]byte, size)...)
		if _, err := mem.ReadAt(data[at:], int64(from)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// wide is a text as JavaScript keeps one that has a character beyond Latin-1.
func wide(text string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		b.WriteByte(byte(unit))
		b.WriteByte(byte(unit >> 8))
	}
	return b.String()
}
