package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxLine is more than any record can need: the list of open attempts is the
// longest thing in one.
const maxLine = 64 << 20

// lines reads the complete lines of one segment, each with its place.
type lines struct {
	file    *os.File
	r       *bufio.Reader
	long    []byte // a line, or the beginning of one, that the buffer cannot hold
	partial bool   // long is the beginning of a line
	name    string
	number  int   // of the line read last, from 1
	start   int64 // where it begins
	end     int64 // where the next one does
}

func openLines(dir string, first uint64) (*lines, error) {
	name := segmentName(first)
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("read audit segment: %w", err)
	}
	return &lines{file: f, r: bufio.NewReaderSize(f, 64<<10), name: name}, nil
}

func (l *lines) close() error { return l.file.Close() }

// next returns the next line without its newline, valid until the call after
// it; io.EOF after the last complete line, and when more has been written
// meanwhile, the call after that reads on.
func (l *lines) next() ([]byte, error) {
	if !l.partial {
		l.long = l.long[:0]
	}
	l.partial = false
	for {
		part, err := l.r.ReadSlice('\n')
		if err != nil || len(l.long) > 0 {
			l.long = append(l.long, part...)
			part = l.long
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(part) <= maxLine:
			continue
		case errors.Is(err, bufio.ErrBufferFull), errors.Is(err, io.EOF):
			l.partial = true
			return nil, io.EOF // what is longer than any record is not a line
		case err != nil:
			return nil, fmt.Errorf("read audit segment: %w", err)
		}
		l.number++
		l.start, l.end = l.end, l.end+int64(len(part))
		return part[:len(part)-1], nil
	}
}

// size is the length of the file at this moment.
func (l *lines) size() (int64, error) {
	info, err := l.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("read audit segment: %w", err)
	}
	return info.Size(), nil
}
