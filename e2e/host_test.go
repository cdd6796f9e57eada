package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		DNSNames: []string{"localhost", "gw.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
