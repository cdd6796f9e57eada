package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// disk makes writing fail. "small DIR" puts a file system of its own, a small
// one, under DIR; "full" and "free" fill it and empty it. Where mounting is not
// permitted, or with "limit", "full" forbids the gateway to write to files.
func disk(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 2 && args[0] == "small" || len(args) == 1 && (args[0] == "limit" || args[0] == "full" || args[0] == "free"), "disk small DIR | limit | full | free")
	switch args[0] {
	case "small":
		dir := ts.MkAbs(args[1])
		ts.Check(os.MkdirAll(dir, 0o700))
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", dir).CombinedOutput(); err != nil {
			ts.Logf("no file system of its own: %v: %s", err, out)
			return
		}
		s.small = dir
		ts.Defer(func() { exec.Command("umount", "--lazy", dir).Run() })
	case "limit":
		s.small = ""
	case "full":
		if s.small == "" {
			s.limit(ts, "0:")
			return
		}
		filler, err := os.Create(s.small + "/filler")
		ts.Check(err)
		for size := 64 << 10; size > 0; {
			if _, err = filler.Write(make([]byte, size)); err != nil {
				size /= 2
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			ts.Fatalf("filling the disk: %v", err)
		}
		ts.Check(filler.Close())
	case "free":
		if s.small == "" {
			s.limit(ts, "unlimited:")
			return
		}
		ts.Check(os.Remove(s.small + "/filler"))
	}
}

// limit bounds the size of the files that the gateway may write.
func (s *scenario) limit(ts *testscript.TestScript, size string) {
	need(ts, s.gateway != nil, "disk full|free, after serve")
	out, err := exec.Command("prlimit", "--pid", strconv.Itoa(s.gateway.PID()), "--fsize="+size).CombinedOutput()
	if err != nil {
		ts.Fatalf("prlimit: %v: %s", err, out)
	}
}

// certificate writes tls.crt and tls.key for gw.example.com and this machine.
func certificate(ts *testscript.TestScript, _ *scenario, args []string) {
	need(ts, len(args) == 0, "certificate")
	c, err := bench.NewCertificate("gw.example.com", "localhost", "127.0.0.1")
	ts.Check(err)
	ts.Check(c.Write(ts.Getenv("WORK")))
}
