package image_test

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The commit checked out is built in two directories, and as an image from each,
// whose builds see it at /src. With VAULTSPAN_IMAGE_FULL the second has nothing
// that was compiled before.
func TestTheSameCommitMakesTheSameBytes(t *testing.T) {
	if _, err := exec.LookPath(machine() + "-linux-musl-gcc"); err != nil {
		t.Skip("builds outside of the image too: apt-get install musl-tools")
	}
	needMounts(t)
	dir := t.TempDir()
	program, image := buildBoth(t, repository, dir, "one")
	var cold []string
	if os.Getenv("VAULTSPAN_IMAGE_FULL") != "" {
		cold = []string{"GOCACHE=" + filepath.Join(dir, "cold")}
	}
	again, another := buildBoth(t, filepath.Join(dir, "one"), dir, "another/directory/two", cold...)
	if !bytes.Equal(program, again) {
		t.Error("make build-static: two builds of one commit differ")
	}
	if !bytes.Equal(image, another) {
		t.Error("make image: two builds of one commit differ")
	}
	parts, err := readArchive(filepath.Join(dir, "one.out.tar"))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := parts.image()
	if err != nil {
		t.Fatal(err)
	}
	err = unpacked.each(func(h *tar.Header, content []byte) error {
		if h.Name == "vaultspan" && !bytes.Equal(content, program) {
			t.Error("the program of the image is not that of make build-static")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// buildBoth builds the program and the image in a fresh checkout of origin.
func buildBoth(t *testing.T, origin, dir, name string, env ...string) (program, image []byte) {
	t.Helper()
	checkout := filepath.Join(dir, name)
	if said, err := exec.Command("git", "clone", "--quiet", origin, checkout).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, said)
	}
	out := filepath.Join(dir, filepath.Base(name)+".out")
	build := exec.Command("make", "-C", checkout, "build-static", "STATIC="+out)
	build.Env = append(os.Environ(), env...)
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build-static: %v\n%s", err, said)
	}
	if err := makeImage(checkout, out+".tar", env...); err != nil {
		t.Fatal(err)
	}
	var read [][]byte
	for _, file := range []string{out, out + ".tar"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, content)
	}
	return read[0], read[1]
}

func TestBuildStaticSaysHowToGetMusl(t *testing.T) {
	said, err := exec.Command("make", "-C", repository, "build-static", "MUSL_CC=no-such-gcc").CombinedOutput()
	if err == nil || !bytes.Contains(said, []byte("no-such-gcc")) || !bytes.Contains(said, []byte("apt-get install musl-tools")) {
		t.Errorf("%v: %s", err, said)
	}
}
