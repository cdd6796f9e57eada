package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// archive is an OCI image layout as it was read from a tar: files by name.
type archive map[string][]byte

func readArchive(name string) (archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := archive{}
	for in := tar.NewReader(f); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		if a[h.Name], err = io.ReadAll(in); err != nil {
			return nil, err
		}
	}
}

// descriptor points to a blob.
type descriptor struct {
	MediaType   string
	Digest      string
	Size        int
	Annotations map[string]string
}

// blob is what a descriptor points to, if its size and digest are as it says.
func (a archive) blob(d descriptor) ([]byte, error) {
	data := a["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
	sum := sha256.Sum256(data)
	if len(data) != d.Size || "sha256:"+hex.EncodeToString(sum[:]) != d.Digest {
		return nil, fmt.Errorf("the blob %s is not in the layout", d.Digest)
	}
	return data, nil
}

// container says how an image is run.
type container struct {
	User         string
	Env          []string
	Entrypoint   []string
	Cmd          []string
	WorkingDir   string
	ExposedPorts map[string]struct{}
	Volumes      map[string]struct{}
	Labels       map[string]string
	StopSignal   string
	Healthcheck  struct {
		Test                           []string
		Interval, Timeout, StartPeriod int
		Retries                        int
	}
}

// ociImage is one image of a layout.
type ociImage struct {
	OS, Architecture string
	Created          string
	Config           container
	RootFS           struct {
		DiffIDs []string `json:"diff_ids"`
	}
	layers [][]byte // uncompressed tars
	size   int      // compressed
}

// image reads the layout's only image.
func (a archive) image() (*ociImage, error) {
	var index, manifest struct {
		Manifests []descriptor
		Config    descriptor
		Layers    []descriptor
	}
	if err := json.Unmarshal(a["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		return nil, fmt.Errorf("want one image in index.json, found %d: %w", len(index.Manifests), err)
	}
	data, err := a.blob(index.Manifests[0])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, err
	}
	if data, err = a.blob(manifest.Config); err != nil {
		return nil, err
	}
	var image ociImage
	if err := json.Unmarshal(data, &image); err != nil {
		return nil, err
	}
	for i, d := range manifest.Layers {
		compressed, err := a.blob(d)
		if err != nil {
			return nil, err
		}
		unzip, err := gzip.NewReader(bytes.NewReader(compressed))
		if err != nil {
			return nil, err
		}
		layer, err := io.ReadAll(unzip)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(layer)
		if i >= len(image.RootFS.DiffIDs) || image.RootFS.DiffIDs[i] != "sha256:"+hex.EncodeToString(sum[:]) {
			return nil, fmt.Errorf("layer %d is not what the configuration lists", i)
		}
		image.layers = append(image.layers, layer)
		image.size += d.Size
	}
	return &image, nil
}

// each calls do with every file of every layer.
func (i *ociImage) each(do func(h *tar.Header, content []byte) error) error {
	for _, layer := range i.layers {
		for in := tar.NewReader(bytes.NewReader(layer)); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			content, err := io.ReadAll(in)
			if err != nil {
				return err
			}
			if err := do(h, content); err != nil {
				return err
			}
		}
	}
	return nil
}

// listing is mode, owner and name of every file, a line each.
func (i *ociImage) listing() (string, error) {
	var lines []string
	err := i.each(func(h *tar.Header, _ []byte) error {
		lines = append(lines, fmt.Sprintf("%s %5d:%-5d /%s", fs.FileMode(h.FileInfo().Mode()), h.Uid, h.Gid, h.Name))
		return nil
	})
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[strings.Index(a, "/"):], b[strings.Index(b, "/"):]) })
	return strings.Join(lines, "\n") + "\n", err
}

// unpack writes the files as a container's root, which takes root's rights.
func (i *ociImage) unpack(dir string) error {
	return i.each(func(h *tar.Header, content []byte) error {
		name := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			if err := os.Mkdir(name, 0o755); err != nil {
				return err
			}
		case tar.TypeReg:
			if err := os.WriteFile(name, content, 0o644); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is neither a file nor a directory", h.Name)
		}
		return errors.Join(os.Chown(name, h.Uid, h.Gid), os.Chmod(name, h.FileInfo().Mode()))
	})
}
