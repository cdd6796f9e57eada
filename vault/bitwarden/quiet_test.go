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
	text := string(out)
	_, after, found := strings.Cut(text, "CANARIES ")
	line, rest, _ := strings.Cut(after, "\n")
	if !found {
		t.Fatalf("the child says nothing of its canaries:\n%s", text)
	}
	for _, canary := range strings.Fields(line) {
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
	w := newWorld(t, func(w *world) { w.setup.Logger = slog.New(slog.NewTextHandler(os.Stdout, nil)) })
	if got := os.Getenv("NO_PROXY"); got != "internal.example,127.0.0.1" {
		t.Errorf("NO_PROXY = %q", got)
	}
	token := w.account.AccessToken()
	id, key, _ := strings.Cut(token, ":")
	fmt.Println("CANARIES", token, id[strings.LastIndexByte(id, '.')+1:], key, "sk_test_canary", "adyen-canary", "leaked-canary")
	w.fetch(time.Time{})
	w.adyen.Corrupt(bwemu.Value)
	fmt.Printf("%v %+v %#v\n", w.fetch(time.Time{}), w.fetch(time.Time{}), w.fetch(time.Time{}))
	for _, fault := range []bwemu.Fault{
		{Status: 400, Body: token}, {Status: 401, Body: "Bearer leaked-canary"}, {Status: 500, Body: token}, {Body: token},
		{HTML: true}, {Truncate: true}, {NoPayload: true}, {Status: 302, Location: "http://192.0.2.1/?leaked-canary"},
	} {
		w.account.EndSessions()
		w.emulator.Fault(fault)
		_, err := w.client.Fetch(t.Context(), time.Time{}, everything)
		fmt.Println(err)
		w.emulator.Clear()
	}
}
