//go:build cgo

package bitwarden_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// TestNothingIsPrintedAndNoProxyIsUsed runs itself again in a process whose
// environment asks for the opposite: the variables are read once, before the
// first client.
func TestNothingIsPrintedAndNoProxyIsUsed(t *testing.T) {
	if os.Getenv("BITWARDEN_TEST_CHILD") != "" {
		child(t)
		return
	}
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	var callers atomic.Int32
	go func() {
		for {
			c, err := proxy.Accept()
			if err != nil {
				return
			}
			callers.Add(1)
			c.Close()
		}
	}()
	at := "http://" + proxy.Addr().String()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "BITWARDEN_TEST_CHILD=1", "RUST_LOG=trace", "RUST_BACKTRACE=full",
		"HTTP_PROXY="+at, "HTTPS_PROXY="+at, "ALL_PROXY="+at, "http_proxy="+at, "https_proxy="+at, "all_proxy="+at,
		"NO_PROXY=", "no_proxy=internal.example")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := callers.Load(); n != 0 {
		t.Errorf("%d connections to the proxy", n)
	}
	var canaries []string
	var said strings.Builder
	for line := range strings.Lines(string(out)) {
		if named, ok := strings.CutPrefix(line, "CANARIES "); ok {
			canaries = append(canaries, strings.Fields(named)...)
		} else {
			said.WriteString(line)
		}
	}
	rest := said.String()
	if len(canaries) < 50 {
		t.Fatalf("the child names %d canaries:\n%s", len(canaries), rest)
	}
	for _, canary := range canaries {
		b := []byte(canary)
		for _, form := range []string{canary, hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b)} {
			if strings.Contains(rest, form) {
				t.Errorf("the output holds %q:\n%s", form, rest)
			}
		}
	}
	if !strings.Contains(rest, "a secret cannot be read") {
		t.Errorf("the child did not come to its log:\n%s", rest)
	}
}

// child does what may make somebody talk, and names first what nobody may say.
func child(t *testing.T) {
	for _, endpoint := range fetching {
		for _, fault := range []bwemu.Fault{
			{Status: 400, Body: "leaked-canary"}, {Status: 401, Body: "Bearer leaked-canary"}, {Status: 500, Body: "leaked-canary"},
			{Body: "leaked-canary"}, {HTML: true}, {Truncate: true}, {NoPayload: true}, {Giant: 17 << 20},
			{Status: 302, Location: "http://192.0.2.1/?leaked-canary"},
		} {
			w := newWorld(t, func(w *world) { w.setup.Logger = slog.New(slog.NewTextHandler(os.Stdout, nil)) })
			token := w.account.AccessToken()
			id, key, _ := strings.Cut(token, ":")
			fmt.Println("CANARIES", token, id[strings.LastIndexByte(id, '.')+1:], key, "sk_test_canary", "adyen-canary", "leaked-canary")
			w.adyen.Corrupt(bwemu.Value)
			snapshot := w.fetch(time.Time{})
			fmt.Printf("%v %+v %#v\n", snapshot, snapshot, snapshot)
			w.account.EndSessions()
			fault.Endpoint = endpoint
			w.emulator.Fault(fault)
			_, err := w.client.Fetch(t.Context(), time.Time{}, everything)
			fmt.Println(err)
		}
	}
	if got := os.Getenv("NO_PROXY"); got != "internal.example,127.0.0.1" {
		t.Errorf("NO_PROXY = %q", got)
	}
}
