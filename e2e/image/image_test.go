// Package image_test makes the container image as its users do, with make image,
// takes it apart, and runs the gateway on it as a container engine would: in the
// image's own files and nothing else, as its user, without rights, on a file
// system that cannot be written.
//
// It needs root, as mounting does. Where musl is not installed, the Dockerfile's
// first stage is run too and installs it, in an overlay, from Debian's servers.
// VAULTSPAN_IMAGE_FULL=1 runs that stage in any case, and compiles all anew.
package image_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// repository is the root of the working tree.
const repository = "../.."

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vaultspan-image-test-")
	if err != nil {
		panic(err)
	}
	built = sync.OnceValues(func() (*ociImage, error) {
		if err := makeImage(repository, filepath.Join(dir, "image.tar")); err != nil {
			return nil, err
		}
		a, err := readArchive(filepath.Join(dir, "image.tar"))
		if err != nil {
			return nil, err
		}
		return a.image()
	})
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// built makes the image when the first test wants it.
var built func() (*ociImage, error)

func theImage(t *testing.T) *ociImage {
	t.Helper()
	needMounts(t)
	image, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// needMounts skips what an ordinary user cannot do.
func needMounts(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt").CombinedOutput(); err != nil || os.Getuid() != 0 {
		t.Skipf("this test mounts file systems, which needs root: %v: %s", err, out)
	}
}

// makeImage runs make image in a checkout.
func makeImage(dir, out string, env ...string) error {
	args := []string{"-C", dir, "--no-print-directory", "image", "IMAGE=" + out}
	if _, err := exec.LookPath(machine() + "-linux-musl-gcc"); err != nil || os.Getenv("VAULTSPAN_IMAGE_FULL") != "" {
		args = append(args, "IMAGE_FLAGS=")
	}
	command := exec.Command("make", args...)
	command.Env = append(os.Environ(), env...)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("make image: %w\n%s", err, said)
	}
	return nil
}

// machine is how Debian names this machine's architecture.
func machine() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}

func TestTheImageHoldsTheGatewayAndNothingElse(t *testing.T) {
	image := theImage(t)
	got, err := image.listing()
	if err != nil {
		t.Fatal(err)
	}
	const want = `drwxr-xr-x     0:0     /etc/
-rw-r--r--     0:0     /etc/group
-rw-r--r--     0:0     /etc/passwd
drwxr-xr-x     0:0     /etc/ssl/
drwxr-xr-x     0:0     /etc/ssl/certs/
-rw-r--r--     0:0     /etc/ssl/certs/ca-certificates.crt
drwxr-xr-x     0:0     /etc/vaultspan/
drwxr-xr-x     0:0     /licenses/
-rw-r--r--     0:0     /licenses/LICENSE
drwxr-xr-x     0:0     /var/
drwxr-xr-x     0:0     /var/lib/
drwxr-xr-x     0:0     /var/lib/vaultspan/
drwx------ 65532:65532 /var/lib/vaultspan/audit/
-rwxr-xr-x     0:0     /vaultspan
`
	if got != want {
		t.Errorf("the image holds\n%swant\n%s", got, want)
	}
	t.Logf("the image is %.1f MB, compressed", float64(image.size)/1e6)
	if image.size > 30e6 {
		t.Error("that is not small")
	}
}

func TestTheImageRunsAsNobodyAndSaysHowItIs(t *testing.T) {
	c := theImage(t).Config
	if c.User != "65532:65532" {
		t.Errorf("runs as %q", c.User)
	}
	if got := slices.Sorted(maps.Keys(c.Volumes)); !slices.Equal(got, []string{"/var/lib/vaultspan/audit"}) {
		t.Errorf("volumes %q", got)
	}
	if len(c.Env) > 0 {
		t.Errorf("brings an environment along: %q", c.Env)
	}
	if !slices.Equal(c.Entrypoint, []string{"/vaultspan"}) || c.StopSignal != "SIGTERM" || len(c.Healthcheck.Test) < 3 || c.Healthcheck.Test[0] != "CMD" {
		t.Errorf("entry %q, stop signal %s, health check %q", c.Entrypoint, c.StopSignal, c.Healthcheck.Test)
	}
	for _, name := range []string{"title", "description", "source", "documentation", "revision", "licenses"} {
		if c.Labels["org.opencontainers.image."+name] == "" {
			t.Errorf("no label says the %s", name)
		}
	}
	if notice := c.Labels["com.github.vaultspan.notice"]; !strings.Contains(notice, "sdk-go") || !strings.Contains(notice, "licence of its own") {
		t.Errorf("the notice about Bitwarden's SDK is %q", notice)
	}
}

func TestTheProgramNeedsNothingBesideItAndNamesNoBuilder(t *testing.T) {
	var program []byte
	err := theImage(t).each(func(h *tar.Header, content []byte) error {
		if h.Name == "vaultspan" {
			program = content
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	binary, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if binary.Type != elf.ET_DYN {
		t.Errorf("the program is %s: its addresses are the same each time", binary.Type)
	}
	if libraries, err := binary.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("wants libraries: %q, %v", libraries, err)
	}
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_GNU_STACK && p.Flags&elf.PF_X != 0 || p.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X {
			t.Errorf("segment %s %s", p.Type, p.Flags)
		}
	}
	here, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{here + "/", home + "/", "/src/cmd/", "/go/pkg/mod/"} {
		if at := bytes.Index(program, []byte(path)); at >= 0 {
			t.Errorf("the program names a place of its build: %q", program[max(0, at-20):min(at+80, len(program))])
		}
	}
}
