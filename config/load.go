package config

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Load reads and checks the configuration at path. The error is Problems, all
// of them. Beside it stands what could be read, for further checks, or nil if
// that is nothing; it must not be served.
func Load(path string, getenv func(string) string) (*Config, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, Problems{{File: path, Text: err.Error()}}
	}
	d := &document{file: path, dir: filepath.Dir(absolute), getenv: getenv, nodes: map[string]*yaml.Node{}, files: []string{absolute}}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Problems{{File: path, Text: "cannot be read: " + reason(err)}}
	}
	root := d.parse(text)
	if root == nil {
		return nil, d.problems.sorted()
	}
	c := &Config{document: d}
	d.decode("", root, reflect.ValueOf(c).Elem())
	c.complete()
	c.check()
	c.files = slices.Compact(slices.Sorted(slices.Values(d.files)))
	if len(d.problems) > 0 {
		return c, d.problems.sorted()
	}
	return c, nil
}

// complete puts in the defaults that more than one package needs, and makes
// paths absolute.
func (c *Config) complete() {
	d := c.document
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:8443")
	c.Admin.Listen = cmp.Or(c.Admin.Listen, "127.0.0.1:9443")
	watch := func(path *string) {
		*path = d.abs(*path)
		if *path != "" {
			d.files = append(d.files, *path)
		}
	}
	watch(&c.TLS.Cert)
	watch(&c.TLS.Key)
	watch(&c.Telemetry.OTLP.CA)
	c.Audit.Dir = d.abs(c.Audit.Dir)
	for i := range c.Issuers {
		watch(&c.Issuers[i].CA)
	}
	for i := range c.Routes {
		watch(&c.Routes[i].UpstreamTLS.CA)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Vaults)) {
		v := c.Vaults[name]
		watch(&v.Bitwarden.CA)
		c.Vaults[name] = v
	}
	c.Policy.Replace = d.abs(c.Policy.Replace)
	d.watchRego("policy.replace", c.Policy.Replace)
	for i, glob := range c.Policy.Deny {
		c.Policy.Deny[i] = d.abs(glob)
		d.watchRego(fmt.Sprintf("policy.deny[%d]", i), c.Policy.Deny[i])
	}
}

// watchRego adds the modules of a file, a directory or a glob to what is
// watched. One that names nothing is a problem: a denial that is not there
// denies nothing.
func (d *document) watchRego(path, pattern string) {
	if pattern == "" {
		return
	}
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		d.at(path, pattern+" names no file")
		return
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			inside, _ := filepath.Glob(filepath.Join(name, "*.rego")) // the pattern is good
			d.files = append(d.files, inside...)
		}
		d.files = append(d.files, name)
	}
}
