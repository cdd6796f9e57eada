package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration: it is typed by people.
const maxFile = 1 << 20

// document is a parsed file that remembers where everything stands in it.
type document struct {
	file   string
	dir    string // what ${file:…} and paths are relative to
	lines  []string
	getenv func(string) string

	nodes    map[string]*yaml.Node // by path
	files    []string              // read on the way
	problems Problems
}

// parse reads the one document of a file and refuses what YAML allows but
// configurations do without: more documents, anchors, aliases and tags, which
// can hide what a file says or make a small file large.
func (d *document) parse(text []byte) *yaml.Node {
	if len(text) > maxFile {
		d.problem("", nil, "the file is larger than 1 MiB")
		return nil
	}
	d.lines = strings.Split(string(text), "\n")
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root, second yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		d.problem("", nil, "the file is empty: see docs/configuration.md for an example")
		return nil
	} else if err != nil {
		d.syntax(err)
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		d.problem("", &second, "the file holds more than one YAML document: remove the --- and what follows")
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return nil
	}
	if !d.plain(root.Content[0]) {
		return nil
	}
	return root.Content[0]
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntax reports what the YAML parser could not read.
func (d *document) syntax(err error) {
	text, node := err.Error(), (*yaml.Node)(nil)
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1]) // digits
		node = &yaml.Node{Line: line, Column: 1}
		text = text[len(m[0]):]
	}
	d.problem("", node, "not YAML: "+strings.TrimPrefix(text, "yaml: "))
}

// plain says whether the tree has nothing but mappings, lists and scalars.
func (d *document) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.problem("", n, "anchors and aliases are not supported: write the value out")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		d.problem("", n, "YAML tags are not supported: remove the "+n.Tag)
		return false
	}
	ok := true
	for _, child := range n.Content {
		ok = d.plain(child) && ok
	}
	return ok
}

// problem notes what is wrong at a path, at a node.
func (d *document) problem(path string, n *yaml.Node, text string) {
	p := Problem{File: d.file, Path: path, Text: text}
	if n != nil && n.Line > 0 {
		p.Line, p.Column = n.Line, n.Column
		if n.Line <= len(d.lines) {
			p.Source = strings.TrimRight(d.lines[n.Line-1], "\r")
		}
	}
	d.problems = append(d.problems, p)
}

// secret notes a problem without showing the line, which may hold a secret.
func (d *document) secretProblem(path string, n *yaml.Node, text string) {
	d.problem(path, n, text)
	d.problems[len(d.problems)-1].Source = ""
}

// at notes what is wrong at a path, wherever that is in the file: at the
// nearest thing above it that was written.
func (d *document) at(path, text string) {
	for near := path; ; {
		if n := d.nodes[near]; n != nil {
			d.problem(path, n, text)
			if d.isSecret(near) {
				d.problems[len(d.problems)-1].Source = ""
			}
			return
		}
		if near == "" {
			d.problem(path, nil, text)
			return
		}
		near = parent(near)
	}
}

// isSecret says whether the value at a path may be a secret.
func (d *document) isSecret(path string) bool {
	n := d.nodes[path]
	return n != nil && n.Kind == yaml.ScalarNode && strings.HasPrefix(n.HeadComment, secretMark)
}

// secretMark is put on the nodes of secrets, so that they are not shown.
const secretMark = "\x00secret"

// parent is the path one step up.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var (
	durationType  = reflect.TypeFor[time.Duration]()
	secretType    = reflect.TypeFor[func() string]()
	unmarshalType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decode fills v, which must be addressable, from n.
func (d *document) decode(path string, n *yaml.Node, v reflect.Value) {
	d.nodes[path] = n
	t := v.Type()
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.problem(path, n, "there is no value: write one, or remove the key")
	case t == secretType:
		d.decodeSecret(path, n, v)
	case t == durationType:
		d.scalar(path, n, func(s string) error {
			duration, err := parseDuration(s)
			v.SetInt(int64(duration))
			return err
		})
	case n.Kind == yaml.ScalarNode && reflect.PointerTo(t).Implements(unmarshalType):
		d.scalar(path, n, func(s string) error {
			return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
		})
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.decode(path, n, v.Elem())
	case t.Kind() == reflect.Struct:
		d.decodeStruct(path, n, v)
	case t.Kind() == reflect.Map:
		d.decodeMap(path, n, v)
	case t.Kind() == reflect.Slice:
		d.decodeSlice(path, n, v)
	default:
		d.decodeScalar(path, n, v)
	}
}

func (d *document) decodeStruct(path string, n *yaml.Node, v reflect.Value) {
	fields := map[string]int{}
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); name != "" {
			fields[name] = i
		}
	}
	d.pairs(path, n, func(key, value *yaml.Node) {
		i, known := fields[key.Value]
		if !known {
			text := fmt.Sprintf("unknown key %q", key.Value)
			if near := nearest(key.Value, fields); near != "" {
				text += fmt.Sprintf(": did you mean %s?", near)
			} else if path == "" {
				text += ": it is none of " + strings.Join(sortedKeys(fields), ", ")
			}
			d.problem(path, key, text)
			return
		}
		d.decode(join(path, key.Value), value, v.Field(i))
	})
}

func (d *document) decodeMap(path string, n *yaml.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(path, n, func(key, value *yaml.Node) {
		if key.Value == "" {
			d.problem(path, key, "a name cannot be empty")
			return
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(join(path, key.Value), value, element)
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), element)
	})
}

func (d *document) decodeSlice(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.problem(path, n, "want a list, such as [a, b], not "+kindOf(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.decode(fmt.Sprintf("%s[%d]", path, i), item, v.Index(i))
	}
}

// pairs visits the pairs of a mapping, each key once.
func (d *document) pairs(path string, n *yaml.Node, visit func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.problem(path, n, "want a mapping (key: value), not "+kindOf(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first, again := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.problem(path, key, "a key must be a word")
		case again:
			d.problem(path, key, fmt.Sprintf("%q is here twice: first in line %d", key.Value, first))
		case key.Value == "<<" && key.Tag == "!!merge":
			d.problem(path, key, "merge keys are not supported: write the values out")
		default:
			seen[key.Value] = key.Line
			visit(key, value)
		}
	}
}

func (d *document) decodeScalar(path string, n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		d.scalar(path, n, func(s string) error {
			v.SetString(s)
			if strings.HasPrefix(s, "${") {
				return errors.New("${file:…} and ${env:…} are for secrets: write the value itself here")
			}
			return nil
		})
	case reflect.Bool:
		d.scalar(path, n, func(s string) error {
			v.SetBool(s == "true")
			if s != "true" && s != "false" {
				return errors.New("want true or false")
			}
			return nil
		})
	case reflect.Int, reflect.Int64:
		d.scalar(path, n, func(s string) error {
			i, err := strconv.ParseInt(s, 10, v.Type().Bits())
			v.SetInt(i)
			if err != nil {
				return errors.New("want a whole number")
			}
			return nil
		})
	case reflect.Float64:
		d.scalar(path, n, func(s string) error {
			f, err := strconv.ParseFloat(s, 64)
			v.SetFloat(f)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				return errors.New("want a number")
			}
			return nil
		})
	default:
		panic("config: no decoder for " + v.Type().String()) // a field somebody added: a test decodes them all
	}
}

// scalar reads a single value.
func (d *document) scalar(path string, n *yaml.Node, set func(string) error) {
	if n.Kind != yaml.ScalarNode {
		d.problem(path, n, "want a single value, not "+kindOf(n))
		return
	}
	if err := set(n.Value); err != nil {
		d.problem(path, n, err.Error())
	}
}

// parseDuration reads 30s, 10m, 24h and 90d.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	duration, err := time.ParseDuration(s)
	if err != nil || duration < 0 {
		return 0, errors.New("want a duration, such as 30s, 10m, 24h or 90d")
	}
	return duration, nil
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
