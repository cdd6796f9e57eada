package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image makes the image of a stage: one layer, and its configuration.
func (b *builder) image(s *stage, arch string) (v1.Image, error) {
	var files bytes.Buffer
	if err := b.pack(s.root(), &files, s.owners); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	made := v1.Time{Time: b.epoch}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: made, CreatedBy: "Dockerfile"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config.OS, config.Architecture, config.Created, config.Config = "linux", arch, made, s.config
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	return mutate.Annotations(image, s.config.Labels).(v1.Image), nil
}

// pack writes the files of a directory as a tar, the same each time.
func (b *builder) pack(dir string, w io.Writer, owners map[string]owner) error {
	out := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: b.epoch, Typeflag: tar.TypeReg}
		o := owners["/"+name]
		header.Uid, header.Gid = o.uid, o.gid
		switch {
		case d.IsDir():
			header.Name, header.Typeflag = name+"/", tar.TypeDir
		case d.Type() == fs.ModeSymlink:
			header.Typeflag = tar.TypeSymlink
			if header.Linkname, err = os.Readlink(path); err != nil {
				return err
			}
		default:
			header.Size = info.Size()
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(out, f)
		return err
	})
	return errors.Join(err, out.Close())
}

// save writes the images as one OCI layout in a tar: the image itself if there is
// one, or an index of them by platform.
func (b *builder) save(images []v1.Image, out string) error {
	name := map[string]string{"org.opencontainers.image.ref.name": "vaultspan:latest"}
	var all []mutate.IndexAddendum
	for _, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			return err
		}
		platform := &v1.Platform{OS: config.OS, Architecture: config.Architecture}
		all = append(all, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	if len(all) == 1 {
		all[0].Annotations = name
		index = mutate.AppendManifests(index, all[0])
	} else {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: mutate.AppendManifests(index, all...), Descriptor: v1.Descriptor{Annotations: name},
		})
	}
	dir := filepath.Join(b.work, "layout")
	if _, err := layout.Write(dir, index); err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(b.pack(dir, f, nil), f.Close())
}
