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
// replace: what to watch. A glob or directory without any is a problem. Files
// ending in _test.rego that a glob or directory matches are left to opa test.
func (c Config) Files() (deny, replace []string, err error) {
	var problems Problems
	for _, pattern := range c.Deny {
		deny = append(deny, expand(pattern, &problems)...)
	}
	if c.Replace != "" {
		replace = walk(c.Replace, &problems)
	}
	slices.Sort(deny)
	return slices.Compact(deny), replace, problems.err()
}

func expand(pattern string, problems *Problems) []string {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}
	}
	files, err := filepath.Glob(pattern)
	files = slices.DeleteFunc(files, isTest)
	if err != nil || len(files) == 0 {
		problems.file(pattern, "matches no file: nothing would be denied; correct it, or remove it from policy.deny")
	}
	return files
}

func walk(root string, problems *Problems) []string {
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return []string{root} // which reading will tell
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
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
	switch {
	case err != nil:
		problems.unreadable(root, err)
	case len(files) == 0:
		problems.file(root, "holds no .rego file: every request would be refused; policy.replace wants a policy")
	}
	return files
}

func isTest(file string) bool { return strings.HasSuffix(file, "_test.rego") }

// load reads and parses the policy and the operator's denies.
func (c Config) load(problems *Problems) []module {
	deny, replace, err := c.Files()
	if found, ok := errors.AsType[Problems](err); ok {
		*problems = append(*problems, found...)
	}
	var modules []module
	if c.Replace == "" {
		modules = append(modules, module{file: "rbac.rego (shipped)", text: shipped})
	}
	read := func(file string, deny bool) {
		text, err := os.ReadFile(file)
		if err != nil {
			problems.unreadable(file, err)
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
