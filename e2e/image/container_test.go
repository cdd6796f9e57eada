package image_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// engine stands for a container engine: it runs programs of an unpacked image the
// way docker run --read-only --cap-drop ALL --security-opt no-new-privileges does,
// but on this machine's network and without /proc and /dev.
type engine struct {
	root    string // the image's files
	run     string // a program: the image's entry point, inside
	command string // a program: what its arguments say, inside
}

// mount is a directory of this machine inside.
type mount struct {
	from, to string
	writable bool
}

// script runs its arguments inside. It replaces itself at each step, so that a
// signal to it reaches the gateway.
const script = `#!/bin/sh
set -e
if [ -z "$OWN_MOUNTS" ]; then OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"; fi
mount --bind %[1]s %[1]s
%[2]smount -o remount,bind,ro %[1]s
exec env -i PATH="$PATH" setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid chroot --userspec=%[3]s %[1]s "$@"
`

// start unpacks the image, and makes what runs programs of it.
func start(t *testing.T, image *ociImage, mounts ...mount) engine {
	t.Helper()
	dir := t.TempDir()
	e := engine{root: filepath.Join(dir, "root"), run: filepath.Join(dir, "run"), command: filepath.Join(dir, "command")}
	if err := os.Mkdir(e.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := image.unpack(e.root); err != nil {
		t.Fatal(err)
	}
	var binds strings.Builder
	for _, m := range mounts {
		at := filepath.Join(e.root, m.to)
		if err := os.MkdirAll(at, 0o755); err != nil { // as engines do
			t.Fatal(err)
		}
		fmt.Fprintf(&binds, "mount --bind %s %s\n", m.from, at)
		if !m.writable {
			fmt.Fprintf(&binds, "mount -o remount,bind,ro %s\n", at)
		}
	}
	for file, text := range map[string]string{
		e.command: fmt.Sprintf(script, e.root, binds.String(), image.Config.User),
		e.run:     "#!/bin/sh\nexec " + e.command + " " + strings.Join(image.Config.Entrypoint, " ") + ` "$@"` + "\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// do runs the entry point with arguments, to its end.
func (e engine) do(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, e.run, args...).CombinedOutput()
	return string(out), err
}

// healthy runs the image's health check, with further arguments.
func (e engine) healthy(ctx context.Context, image *ociImage, args ...string) (string, error) {
	check := slices.Concat(image.Config.Healthcheck.Test[1:], args)
	out, err := exec.CommandContext(ctx, e.command, check...).CombinedOutput()
	return string(out), err
}
