package image_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// patience bounds every wait; none is meant to last.
const patience = 60 * time.Second

func TestTheGatewayRunsOnItsImageAlone(t *testing.T) {
	image := theImage(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	volume, etc := t.TempDir(), t.TempDir()
	world, err := bench.Start(ctx, etc)
	if err != nil {
		t.Fatal(err)
	}
	box := start(t, image, mount{volume, "/var/lib/vaultspan/audit", true}, mount{etc, "/etc/vaultspan", false})
	if out, err := box.do(ctx, "version"); err != nil || !strings.HasPrefix(out, "vaultspan ") {
		t.Fatalf("version: %v: %s", err, out)
	}
	public := configure(t, ctx, world, box, volume, etc)
	before := listing(t, box.root)

	if out, err := box.do(ctx, "check", "--config", "/etc/vaultspan/vaultspan.yaml", "--online"); err != nil {
		t.Fatalf("check: %v: %s", err, out)
	}
	if out, err := box.healthy(ctx, image); err == nil {
		t.Errorf("healthy before it runs: %s", out)
	}

	begun := time.Now()
	if image.Config.Cmd[0] != "serve" {
		t.Fatalf("the image's command is %q", image.Config.Cmd)
	}
	log := filepath.Join(t.TempDir(), "gateway.log")
	gateway, err := world.Serve(ctx, bench.Run{Program: box.run, Args: image.Config.Cmd[1:], Env: []string{"PATH=" + os.Getenv("PATH")}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := os.ReadFile(log); err == nil && t.Failed() {
			t.Logf("%s", text)
		}
	})
	if err := gateway.Serving(ctx); err != nil {
		t.Fatal(err)
	}
	serving := time.Since(begun)
	until(t, ctx, func() (string, error) { return box.healthy(ctx, image) })
	healthy := time.Since(begun)
	until(t, ctx, func() (string, error) { return box.healthy(ctx, image, "--ready") })
	t.Logf("serving %s after its start, healthy %s after, ready %s after", serving.Round(time.Millisecond), healthy.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
	hasNoRights(t, gateway.PID(), image.Config.User)

	token, err := world.Token(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	response := get(t, ctx, gateway.URL+"/u1/v1/things", token)
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Fatalf("a request: %s %s", response.Status, body)
	}
	uses := world.Upstreams["U1"].Uses()
	if len(uses) != 1 || uses[0].Credential != 1 {
		t.Errorf("the upstream received %v", uses)
	}

	drains(t, ctx, world, box, image, gateway, token)
	if out, err := box.do(ctx, "audit", "verify", "--dir", "/var/lib/vaultspan/audit", "--key", public); err != nil {
		t.Errorf("audit verify: %v: %s", err, out)
	}
	if after := listing(t, box.root); after != before {
		t.Errorf("the root file system was %s\nand is %s", before, after)
	}
	for _, dir := range []string{volume, filepath.Dir(log)} {
		leaks, err := world.Leaks(dir)
		if err != nil || len(leaks) > 0 {
			t.Errorf("leaked: %v %v", leaks, err)
		}
	}
}

// configure writes what is mounted at /etc/vaultspan, and gives it and the volume
// to the image's user. It returns the public key of the audit log.
func configure(t *testing.T, ctx context.Context, world *bench.Bench, box engine, volume, etc string) (public string) {
	t.Helper()
	if err := os.Chown(etc, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	// The health check reads the port from the file, so it has to be known.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	env := world.Env()
	text := fmt.Sprintf(`listen: 127.0.0.1:0
admin: {listen: %q}
shutdown_grace: 50s
issuers: [{name: a, url: %q, audience: vaultspan}]
vaults:
  prod:
    bitwarden: {organization: %q, access_token: "${file:bws-token}", api: %q, identity: %q}
roles:
  dev: {members: [{issuer: a, groups: dev}], collections: {prod/team-dev: any}}
routes: [{name: u1, match: [/u1/], strip: /u1, upstream: %q, secret: prod/team-dev/U1_TOKEN, inject: bearer}]
audit: {dir: /var/lib/vaultspan/audit, key: "${file:audit.key}"}
`, free.Addr(), env["IDP"], env["BW_ORG"], env["BW_API"], env["BW_IDENTITY"], env["U1"])
	if err := os.WriteFile(filepath.Join(etc, "vaultspan.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// The volume is all that can be written. It is as Kubernetes hands it over with
	// fsGroup, on a file system of its own.
	if err := errors.Join(os.Chown(volume, 0, 65532), os.Chmod(volume, 0o775|fs.ModeSetgid), os.Mkdir(filepath.Join(volume, "lost+found"), 0o700)); err != nil {
		t.Fatal(err)
	}
	out, err := box.do(ctx, "audit", "keygen", "image.test/audit", "--out", "/var/lib/vaultspan/audit/audit.key")
	if err != nil {
		t.Fatalf("audit keygen: %v: %s", err, out)
	}
	if err := os.Rename(filepath.Join(volume, "audit.key"), filepath.Join(etc, "audit.key")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(etc, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Chown(file, 65532, 65532); err != nil {
			t.Fatal(err)
		}
	}
	public = regexp.MustCompile(`image\.test/audit\+\S+`).FindString(out)
	if public == "" {
		t.Fatalf("audit keygen printed no public key: %s", out)
	}
	return public
}

// drains ends the gateway under a stream: nobody new is sent to it, the stream
// ends as its upstream ends it, and then the process does.
func drains(t *testing.T, ctx context.Context, world *bench.Bench, box engine, image *ociImage, gateway *bench.Gateway, token string) {
	t.Helper()
	lines := bufio.NewScanner(get(t, ctx, gateway.URL+"/u1/hold", token).Body)
	if !lines.Scan() || lines.Text() != "data: first" {
		t.Fatalf("the stream begins with %q, %v", lines.Text(), lines.Err())
	}
	if err := gateway.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, func() (string, error) {
		out, err := box.healthy(ctx, image, "--ready")
		if err != nil && strings.Contains(out, "draining") {
			return "", nil
		}
		return out, fmt.Errorf("not draining: %w", err)
	})
	if out, err := box.healthy(ctx, image); err != nil {
		t.Errorf("a gateway that drains is not dead: %s", out)
	}
	world.Upstreams["U1"].Release()
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if text := strings.Join(rest, "\n"); !strings.Contains(text, "data: last") {
		t.Errorf("the stream ended with %q, %v", text, lines.Err())
	}
	if err := gateway.Ended(ctx); err != nil {
		t.Error(err)
	}
}

// hasNoRights looks at what the kernel says of a process.
func hasNoRights(t *testing.T, pid int, user string) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	uid, _, _ := strings.Cut(user, ":")
	for _, want := range []string{
		"Name:\tvaultspan\n", "Uid:\t" + strings.Repeat(uid+"\t", 3) + uid + "\n", "NoNewPrivs:\t1\n",
		"CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "CapInh:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process is not %q:\n%s", want, status)
		}
	}
}

func get(t *testing.T, ctx context.Context, url, token string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// until asks again and again, which is all that can be done of another process.
func until(t *testing.T, ctx context.Context, ask func() (string, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		out, err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%v: %s", err, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// listing is every file of a directory with its mode, size and time.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&all, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
