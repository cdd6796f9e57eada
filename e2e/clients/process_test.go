package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// script is a program in node/ that is a client: it hears and says lines of JSON.
type script struct {
	t     *testing.T
	cmd   *exec.Cmd
	tell  io.WriteCloser
	lines chan []byte

	mu    sync.Mutex
	shown bytes.Buffer // all of stdout and stderr
}

// said is a line of a script. What else it has depends on What.
type said struct {
	What   string
	Text   string
	Who    string
	Kind   string
	Status int
	Header map[string]string
}

// node starts a script, and makes sure that it knew no key of the vault.
func (w *world) node(t *testing.T, name string, settings map[string]any, flags ...string) *script {
	t.Helper()
	bench.Packages(t, "node")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	s := &script{t: t, lines: make(chan []byte, 100)}
	s.cmd = exec.CommandContext(ctx, bench.Need(t, "node"), append(flags, filepath.Join("node", name))...)
	s.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NODE_EXTRA_CA_CERTS=" + w.ca,
		"OPENAI_LOG=debug", "ANTHROPIC_LOG=debug", // the SDKs' logs, as much as there is of them
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = writer(s.show)
	if s.tell, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(s.lines)
		for lines := bufio.NewReader(stdout); ; {
			line, err := lines.ReadBytes('\n')
			s.show(line)
			if err != nil {
				return
			}
			if bytes.HasPrefix(line, []byte(`{"what":`)) { // the rest is the SDK's log
				s.lines <- line
			}
		}
	}()
	t.Cleanup(func() {
		s.tell.Close() // which ends it
		for range s.lines {
		}
		<-read
		err := s.cmd.Wait()
		cancel()
		if err != nil && !t.Failed() {
			t.Errorf("%s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s showed:\n%.20000s", name, s.shown.String())
		}
		for _, leak := range w.keys.Bytes("what "+name+" showed", s.shown.Bytes()) {
			t.Errorf("a leak: %s", leak)
		}
	})
	s.say(settings)
	return s
}

func (s *script) show(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown.Write(p)
}

// say tells the script something.
func (s *script) say(what any) {
	s.t.Helper()
	if err := json.NewEncoder(s.tell).Encode(what); err != nil {
		s.t.Fatal(err)
	}
}

// hear is the script's next line, which must be of this kind.
func (s *script) hear(what string) said {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		var heard said
		if !ok {
			s.t.Fatalf("the script ended, want %q", what)
		}
		if err := json.Unmarshal(line, &heard); err != nil || heard.What != what {
			s.t.Fatalf("the script said %s (%v), want %q", bytes.TrimSpace(line), err, what)
		}
		return heard
	case <-time.After(patience):
		s.t.Fatalf("the script says nothing, want %q", what)
		panic("unreachable")
	}
}

// writer makes a function an io.Writer.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
