package audit

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is what the log needs of an open segment.
type File interface {
	io.WriteCloser
	Sync() error
}

// create is how a segment is opened unless Setup.Create says otherwise. It
// never opens a file that exists: a descriptor that failed, and what it left,
// are not to be met again.
func create(path string) (File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// segment is the file being appended to.
type segment struct {
	path string
	file File
	info fs.FileInfo
	size int64 // durable bytes
}

// begin creates the segment whose first record is seq. It removes what an
// earlier try left under that name, which no reader was told of.
func begin(dir string, seq uint64, create func(string) (File, error)) (*segment, error) {
	s := &segment{path: filepath.Join(dir, segmentName(seq))}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var err error
	if s.file, err = create(s.path); err != nil {
		return nil, err
	}
	if s.info, err = os.Stat(s.path); err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		s.seal()
		return nil, err
	}
	return s, nil
}

// append writes b and makes it durable, or leaves the segment to be sealed.
func (s *segment) append(b []byte, sync func(File) error) error {
	n, err := s.file.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = sync(s.file)
	}
	if err == nil {
		err = inPlace(s.path, s.info)
	}
	if err != nil {
		return err
	}
	s.size += int64(len(b))
	return nil
}

// seal ends a segment after a failure. The descriptor is not used again but to
// close it. Cutting off what is in doubt is a courtesy to people with grep: the
// next segment says where this one ends, whether the cut reaches the disk or not.
func (s *segment) seal() {
	s.file.Close()
	if s.info == nil || inPlace(s.path, s.info) != nil {
		return
	}
	if s.size == 0 {
		os.Remove(s.path)
		return
	}
	os.Truncate(s.path, s.size)
}
