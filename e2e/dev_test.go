package e2e_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/examples"
)

// A stranger copies what "vaultspan dev" prints, without a guess, and has a
// request through a configuration made by "vaultspan init".
func TestWhatDevPrintsLeadsToARequest(t *testing.T) {
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	if !apart(t, binary, t.TempDir()) {
		return
	}
	dir := os.Getenv(exampleDir)
	x := &example{name: "dev", Reader: &examples.Reader{Dir: dir, Env: exampleEnv(binary, dir)}}
	defer x.Close()
	x.leftRunning(t, "Terminal 1", "vaultspan dev", "Ready. Ctrl-C ends it.")

	guide := x.Shown()["Terminal 1"]
	commands := func(from, to string) string {
		_, rest, ok1 := strings.Cut(guide, from)
		block, _, ok2 := strings.Cut(rest, to)
		if !ok1 || !ok2 {
			t.Fatalf("no %q before %q in the guide:\n%s", from, to, guide)
		}
		return strings.TrimSpace(block)
	}
	gateway, caller := commands("in another terminal:", "and then"), commands("in a third:", "Ready.")
	if n := strings.Count(strings.ReplaceAll(gateway+"\n"+caller, "\\\n", ""), "\n") + 1; n >= 9 { // make build and vaultspan dev come before
		t.Errorf("%d commands", n)
	}
	x.leftRunning(t, "Terminal 2", gateway, "gw/vaultspan.yaml: 1 route, …: no problem found", "…serving…")
	x.sees(t, "Terminal 3", caller, "HTTP/1.1 200 OK", `{"balance":4200,…`)
	t.Log(x.transcript())
	x.leave(t)
}

// apart runs the test again in a process with a loopback of its own and says
// whether this is it, or as good as it gets.
func apart(t *testing.T, binary, dir string) bool {
	if os.Getenv(exampleDir) != "" {
		if err := examples.Loopback(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	self := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v=true", "-test.timeout=10m")
	self.Env = append(os.Environ(), exampleDir+"="+dir, "VAULTSPAN_BINARY="+binary)
	if !examples.Apart(self) {
		t.Log("not permitted to make a loopback of its own: the ports must be free")
		t.Setenv(exampleDir, dir)
		return true
	}
	out, err := self.CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	return false
}
