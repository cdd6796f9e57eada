package policy

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// shipped is the policy of a configuration that replaces nothing.
//
//go:embed rbac.rego
var shipped string

// A module is one file of Rego.
type module struct {
	file   string
	deny   bool // it is one of policy.deny
	text   string
	parsed *ast.Module
}

// Files lists the modules the section names, those of deny and those of
// replace: what to watch. A glob or directory without any is an error. Files
// ending in _test.rego that a glob or directory matches are left to opa test.
func (c Config) Files() (deny, replace []string, err error) {
	var errs []error
	for _, pattern := range c.Deny {
		files, err := expand(pattern)
		deny, errs = append(deny, files...), append(errs, err)
	}
	if c.Replace != "" {
		replace, err = walk(c.Replace)
		errs = append(errs, err)
	}
	slices.Sort(deny)
	return slices.Compact(deny), replace, errors.Join(errs...)
}

func expand(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}, nil
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("policy.deny: %q: %w", pattern, err)
	}
	files = slices.DeleteFunc(files, isTest)
	if len(files) == 0 {
		return nil, fmt.Errorf("policy.deny: %q matches no file: nothing would be denied", pattern)
	}
	return files, nil
}

func walk(root string) ([]string, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("policy.replace: %w", err)
	}
	if !info.IsDir() {
		return []string{root}, nil
	}
	var files []string
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == root:
		case strings.HasPrefix(entry.Name(), "."): // ..data of a mounted ConfigMap, .git
			if entry.IsDir() {
				return fs.SkipDir
			}
		case !entry.IsDir() && filepath.Ext(path) == ".rego" && !isTest(path):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("policy.replace: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("policy.replace: %q holds no .rego file", root)
	}
	return files, nil
}

func isTest(file string) bool { return strings.HasSuffix(file, "_test.rego") }

// load reads and parses the policy and the operator's denies.
func (c Config) load(problems *Problems) []module {
	deny, replace, err := c.Files()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			*problems = append(*problems, Problem{Text: strings.TrimSpace(line)})
		}
	}
	var modules []module
	if c.Replace == "" {
		modules = append(modules, module{file: "rbac.rego (shipped)", text: shipped})
	}
	read := func(file string, deny bool) {
		text, err := os.ReadFile(file)
		if err != nil {
			*problems = append(*problems, Problem{File: file, Text: "cannot be read: " + err.Error()})
			return
		}
		modules = append(modules, module{file: file, deny: deny, text: string(text)})
	}
	for _, file := range replace {
		read(file, false)
	}
	for _, file := range deny {
		read(file, true)
	}
	for i := range modules {
		modules[i].parse(problems)
	}
	return modules
}

func (m *module) parse(problems *Problems) {
	var err error
	m.parsed, err = ast.ParseModuleWithOpts(m.file, m.text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		problems.rego(m.file, err)
		return
	}
	pkg := m.parsed.Package
	switch at := pkg.Path; {
	case m.deny && !at.Equal(denyPackage):
		problems.at(pkg.Location, fmt.Sprintf("%v: modules of policy.deny are in package vaultspan.deny, and only take away", pkg))
	case !m.deny && (!at.HasPrefix(rootPackage) || at.HasPrefix(denyPackage)):
		problems.at(pkg.Location, fmt.Sprintf("%v: modules of policy.replace are in package vaultspan, or below it; denials go to policy.deny", pkg))
	}
	refused(m.parsed, problems)
}
