package config

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
)

// document is the text of the file, with the place of every path in it, and what
// is wrong with it.
type document struct {
	file     string
	lines    []string
	places   map[string]place
	problems Problems
	broken   []string // paths whose value could not be decoded

	// Where a value stands that may be a secret: from hidden[line] on a line, and
	// from line hiddenFrom on everything.
	hidden     map[int]int
	hiddenFrom int
}

// place is where a path is written.
type place struct{ line, column int }

// lineBreak is what the parser counts as the end of a line (YAML 1.1, section
// 5.4). To count otherwise would be to show another line than is meant.
var lineBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// parse returns the root of the only document, or nil.
func (d *document) parse(text []byte) *yaml.Node {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if !utf8.Valid(text) { // YAML may be UTF-16 too, whose lines we would not find
		d.problems = append(d.problems, Problem{File: d.file, Text: "the file is not text in UTF-8"})
		return nil
	}
	d.lines = lineBreak.Split(string(text), -1)
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		d.problems = append(d.problems, Problem{File: d.file, Text: "the file is empty: begin with issuers, roles and routes"})
		return nil
	}
	if err != nil {
		d.broke(err)
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		d.problems = append(d.problems, Problem{File: d.file, Line: root.Line, Column: root.Column, Text: "want keys such as issuers, roles and routes at the left margin"})
		return nil
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
		return root
	case err != nil:
		d.broke(err)
	default:
		d.problems = append(d.problems, Problem{
			File: d.file, Line: more.Line, Column: more.Column,
			Text: "a second document begins here: a configuration is one document; remove the --- and merge the two",
		})
	}
	return nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:(?:line|offset) (\d+): )?(.*)$`)

// broke reports text that is not YAML. The parser's words may quote the text, so
// only those known not to are passed on.
func (d *document) broke(err error) {
	p := Problem{File: d.file, Text: "this is not YAML: check the quotes, brackets and indentation here"}
	if m := yamlLine.FindStringSubmatch(strings.TrimSpace(err.Error())); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		if _, plain := yamlWords[m[2]]; plain {
			p.Text = "this is not YAML: " + m[2]
		}
		switch {
		case strings.HasPrefix(m[2], "unknown anchor"):
			p.Text = "a value that begins with * refers to an anchor, and there are none in this file: put it in quotes"
		case strings.Contains(m[2], "control characters"):
			p.Text = "the file has control characters in it"
		}
	}
	if p.Line >= 1 && p.Line <= len(d.lines) {
		line := d.lines[p.Line-1]
		if strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
			p.Hint = "indent with spaces: YAML does not take tabs"
		}
		p.Source = keyOnly(line)
	}
	d.problems = append(d.problems, p)
}

// yamlWords are what the parser says without quoting the text.
var yamlWords = map[string]bool{
	"mapping values are not allowed in this context":               true,
	"could not find expected ':'":                                  true,
	"did not find expected key":                                    true,
	"did not find expected node content":                           true,
	"did not find expected ',' or ']'":                             true,
	"did not find expected ',' or '}'":                             true,
	"did not find expected '-' indicator":                          true,
	"did not find expected <document start>":                       true,
	"found character that cannot start any token":                  true,
	"found unexpected end of stream":                               true,
	"found a tab character that violates indentation":              true,
	"found unknown escape character":                               true,
	"block sequence entries are not allowed in this context":       true,
	"found a tab character where an indentation space is expected": true,
}

var leadingKey = regexp.MustCompile(`^\s*(?:- +)?([a-z_]+):`)

// keyOnly is the beginning of a line of broken YAML: a key we know. What follows
// may be a secret whose quotes are the very problem.
func keyOnly(line string) string {
	m := leadingKey.FindStringSubmatch(line)
	if m == nil || !knownKeys(reflect.TypeFor[Config](), m[1]) {
		return ""
	}
	s, _ := shown(m[0], 0)
	return s + " …"
}

// knownKeys says whether any struct of the configuration has the key.
func knownKeys(t reflect.Type, key string) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		return knownKeys(t.Elem(), key)
	case reflect.Struct:
		for f := range fields(t) {
			if f.key == key || knownKeys(t.Field(f.index).Type, key) {
				return true
			}
		}
	}
	return false
}

// at records where a path is written: at its value when that is on the key's
// line, else at the key.
func (d *document) at(path string, key, value *yaml.Node) {
	p := place{value.Line, value.Column}
	if key != nil && value.Line != key.Line {
		p = place{key.Line, key.Column}
	}
	d.places[path] = p
}

// hide keeps a value, and everything in it, out of what is shown.
func (d *document) hide(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		for _, c := range n.Content {
			d.hide(c)
		}
		return
	}
	if n.Tag == "!!null" {
		return
	}
	if d.hidden == nil {
		d.hidden = make(map[int]int)
	}
	if from, ok := d.hidden[n.Line]; !ok || n.Column < from {
		d.hidden[n.Line] = n.Column
	}
	if !d.oneLine(n) && (d.hiddenFrom == 0 || n.Line < d.hiddenFrom) {
		d.hiddenFrom = n.Line // nobody tells where it ends
	}
}

// oneLine says whether a value ends on the line it begins on.
func (d *document) oneLine(n *yaml.Node) bool {
	if n.Line < 1 || n.Line > len(d.lines) {
		return false
	}
	line := []rune(d.lines[n.Line-1])
	return strings.Contains(string(line[min(max(n.Column-1, 0), len(line)):]), n.Value)
}

// problem places a text at a path, or at the nearest path above it.
func (d *document) problem(path, text string) Problem {
	p := Problem{File: d.file, Path: path, Text: text}
	for at := path; at != ""; at = parent(at) {
		if where, ok := d.places[at]; ok {
			p.Line, p.Column = where.line, where.column
			break
		}
	}
	return p
}

// revealed is a problem with its source line, without what is hidden. It comes
// last, when everything to hide is known.
func (d *document) revealed(p Problem) Problem {
	if p.Source != "" || p.Line < 1 || p.Line > len(d.lines) || d.hiddenFrom != 0 && p.Line > d.hiddenFrom {
		return p
	}
	line := []rune(d.lines[p.Line-1])
	if from, ok := d.hidden[p.Line]; ok {
		line = append(line[:min(from-1, len(line)):len(line)], '…')
	}
	p.Source, p.caret = shown(string(line), p.Column)
	return p
}

// parent is the path above a path, or "".
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
