package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// maxSecret is the most that a secret's file may hold.
const maxSecret = 64 << 10

// reference is how a secret is written.
var reference = regexp.MustCompile(`^\$\{(file|env):([^{}]+)\}$`)

// secret fills a func from the file or the variable that n names. The text of n
// is not quoted, because it may be the secret itself.
func (d *decoder) secret(n *yaml.Node, v reflect.Value, path string) {
	var m []string
	if n.Kind == yaml.ScalarNode {
		m = reference.FindStringSubmatch(n.Value)
	}
	if m == nil {
		d.hide(n)
		d.wrong(n, path, "a secret is not written in this file",
			`write it to a file of its own (mode 0600) and "${file:NAME}" here, or "${env:NAME}"`)
		return
	}
	if m[1] == "env" {
		value := ""
		if d.getenv != nil {
			value = d.getenv(m[2])
		}
		if value == "" {
			d.wrong(n, path, "the environment variable "+m[2]+" is empty or not set", "")
			return
		}
		v.Set(reflect.ValueOf(func() string { return value }))
		return
	}
	name := absolute(d.dir, m[2])
	d.files = append(d.files, name)
	d.secretFiles[path] = name
	text, err := readFile(name, maxSecret)
	if err != nil {
		d.wrong(n, path, m[2]+": "+err.Error(), "")
		return
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	clear(text)
	if value == "" {
		d.wrong(n, path, m[2]+": the file is empty", "")
		return
	}
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o004 != 0 {
		d.warnings = append(d.warnings, Problem{
			File: d.file, Line: n.Line, Column: n.Column, Path: path,
			Text: m[2] + " can be read by every user of this machine: chmod o-r",
		})
	}
	v.Set(reflect.ValueOf(func() string { return value }))
}

// absolute is a file name of the configuration, from the configuration's
// directory.
func absolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}
