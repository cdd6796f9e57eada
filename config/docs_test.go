package config_test

import (
	"encoding"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/config"
)

var updateDocs = flag.Bool("update-docs", false, "write docs/configuration.md and config/schema.json")

// docsFile and schemaFile are generated.
const docsFile = "../docs/configuration.md"

const docsHead = `# Configuration

Generated from the doc comments of the Config structs by ` + "`go test ./config -run TestDocs -update-docs`" + `: do not edit.

One YAML file, ` + "`vaultspan.yaml`" + ` unless ` + "`--config`" + ` says otherwise. Unknown keys, duplicate keys, anchors and aliases are errors;
` + "`vaultspan check`" + ` prints all of them at once, with line, column and what to do. Paths are relative to the file.

A **secret** is never written into the file: it is ` + "`\"${file:NAME}\"`" + ` (relative to the file, one trailing newline trimmed) or
` + "`\"${env:NAME}\"`" + `. A **duration** is ` + "`30s`, `10m`, `24h` or `90d`" + `; a **size** is ` + "`512`, `64KiB`, `10MiB` or `1GiB`" + `.

The file, every file it refers to and every Rego module are watched, and SIGHUP reloads too. A configuration is applied
whole or not at all. Read at the start only: ` + "`listen`, `admin`, whether there is `tls`, `audit` and `telemetry`" + `.
`

// docs/configuration.md says of each key what the doc comment of its field says.
func TestDocs(t *testing.T) {
	d := &docs{fields: map[string]map[string]string{}}
	d.b.WriteString(docsHead)
	d.section(t, "", reflect.TypeFor[config.Config](), 2)
	if *updateDocs {
		if err := os.WriteFile(docsFile, []byte(d.b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != d.b.String() {
		t.Error("docs/configuration.md is not what the doc comments say: run go test ./config -run TestDocs -update-docs")
	}
}

// docs writes the reference, a section a struct.
type docs struct {
	b      strings.Builder
	fields map[string]map[string]string // "package path.Type" → field → comment
}

func (d *docs) section(t *testing.T, path string, of reflect.Type, level int) {
	title := path
	if path == "" {
		title = "The file"
	} else {
		title = "`" + path + "`"
	}
	fmt.Fprintf(&d.b, "\n%s %s\n\n", strings.Repeat("#", min(level, 4)), title)
	type nested struct {
		path string
		of   reflect.Type
	}
	var below []nested
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" {
			continue
		}
		comment := d.comment(t, of, f.Name)
		if comment == "" {
			t.Errorf("%s.%s has no doc comment: it is the reference of %q", of, f.Name, name)
		}
		kind, suffix, inner := kindOf(f.Type)
		fmt.Fprintf(&d.b, "- **`%s`** (%s): %s\n", name, kind, strings.TrimPrefix(comment, f.Name+" "))
		if inner != nil {
			below = append(below, nested{strings.TrimPrefix(path+"."+name+suffix, "."), inner})
		}
	}
	for _, n := range below {
		d.section(t, n.path, n.of, level+1)
	}
}

// kindOf names a field's type for people, and the struct inside it, if any.
func kindOf(t reflect.Type) (kind, suffix string, inner reflect.Type) {
	unmarshals := reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration", "", nil
	case t == reflect.TypeFor[func() string]():
		return "secret", "", nil
	case strings.HasSuffix(t.String(), ".Bytes"):
		return "size", "", nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Struct:
		if t.String() == "netip.Prefix" {
			return "network, such as 10.0.0.0/8", "", nil
		}
		if shorts[t] != "" {
			return "a " + shorts[t] + ", or a mapping", "", t
		}
		if unmarshals {
			return "a word, or a mapping", "", t
		}
		return "mapping", "", t
	case reflect.Slice:
		kind, suffix, inner := kindOf(t.Elem())
		if unmarshals {
			kind = "text, or one word"
		}
		return "list of " + kind, "[]" + suffix, inner
	case reflect.Map:
		kind, suffix, inner := kindOf(t.Elem())
		return "mapping of names to " + kind, ".NAME" + suffix, inner
	case reflect.Bool:
		return "true or false", "", nil
	case reflect.String:
		return "text", "", nil
	}
	if unmarshals {
		return "word", "", nil
	}
	return "number", "", nil
}

// comment is the doc comment of a struct's field, in one line.
func (d *docs) comment(t *testing.T, of reflect.Type, field string) string {
	t.Helper()
	key := of.PkgPath() + "." + of.Name()
	if d.fields[key] == nil {
		d.parse(t, of.PkgPath())
	}
	return d.fields[key][field]
}

// parse reads the comments of every struct of a package of ours.
func (d *docs) parse(t *testing.T, pkg string) {
	t.Helper()
	dir := filepath.Join("..", strings.TrimPrefix(pkg, "github.com/vaultspan/vaultspan/"))
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no source of %s: %v", pkg, err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			body, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			fields := map[string]string{}
			for _, f := range body.Fields.List {
				for _, name := range f.Names {
					fields[name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			d.fields[pkg+"."+spec.Name.Name] = fields
			return true
		})
	}
}
