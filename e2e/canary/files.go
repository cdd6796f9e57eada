package canary

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Path scans a file, or every file below a directory; names count too. That it
// finds nothing to read is an error: an empty scan proves nothing.
func (s *Scanner) Path(path string) ([]Finding, error) {
	var found []Finding
	files := 0
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		found = append(found, s.Bytes("the name of "+p, []byte(filepath.Base(p)))...)
		if !d.Type().IsRegular() {
			return nil
		}
		files++
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		found = append(found, s.Bytes(p, data)...)
		return nil
	})
	if err == nil && files == 0 {
		err = fmt.Errorf("no files in %s", path)
	}
	if err != nil {
		return found, fmt.Errorf("scanning for canaries: %w", err)
	}
	return found, nil
}
