package config

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSecret bounds a file that holds a secret.
const maxSecret = 64 << 10

var reference = regexp.MustCompile(`^\$\{(file|env):([^{}]+)\}$`)

// decodeSecret resolves ${file:…} or ${env:…} into v. A secret written into the
// file is refused, and not repeated.
func (d *document) decodeSecret(path string, n *yaml.Node, v reflect.Value) {
	n.HeadComment = secretMark
	if n.Kind != yaml.ScalarNode {
		d.secretProblem(path, n, "want ${file:NAME} or ${env:NAME}")
		return
	}
	m := reference.FindStringSubmatch(n.Value)
	if m == nil {
		d.secretProblem(path, n, "a secret does not belong in this file: write it to a file of its own and refer to it as ${file:NAME}, or use ${env:NAME}")
		return
	}
	value := d.getenv(m[2])
	if m[1] == "env" && value == "" {
		d.problem(path, n, "the environment variable "+m[2]+" is not set")
		return
	}
	if m[1] == "file" {
		var err error
		if value, err = d.readSecret(m[2]); err != nil {
			d.problem(path, n, "cannot read the secret: "+err.Error())
			return
		}
		if value == "" {
			d.problem(path, n, "the file "+m[2]+" is empty")
			return
		}
	}
	v.Set(reflect.ValueOf(func() string { return value }))
}

// readSecret reads a file less one trailing newline. The file is watched from
// then on, even if it cannot be read now.
func (d *document) readSecret(name string) (string, error) {
	name = d.abs(name)
	d.files = append(d.files, name)
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSecret {
		return "", &os.PathError{Op: "read", Path: name, Err: os.ErrInvalid}
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// abs makes a path of the configuration independent of where we run.
func (d *document) abs(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.dir, name)
}

// nearest is the known name that a typo most likely meant, or "".
func nearest[V any](typo string, known map[string]V) string {
	best, distance := "", 3
	for _, name := range sortedKeys(known) {
		if n := editDistance(strings.ToLower(typo), name); n < distance && n < len(name) {
			best, distance = name, n
		}
	}
	return best
}

// editDistance is the Levenshtein distance.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
