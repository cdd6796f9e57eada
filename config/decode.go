package config

import (
	"encoding"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// decoder fills Go values from YAML by their yaml tags. It takes only what is
// plainly meant, and goes on after each problem.
type decoder struct {
	*document
	dir    string // of the file
	getenv func(string) string

	files       []string          // that secrets are in
	secretFiles map[string]string // by path
	warnings    Problems
}

// wrong reports a value that could not be decoded. What is checked later says
// nothing more about it.
func (d *decoder) wrong(n *yaml.Node, path, text, hint string) {
	d.problems = append(d.problems, Problem{File: d.file, Line: n.Line, Column: n.Column, Path: path, Text: text, Hint: hint})
	d.broken = append(d.broken, path)
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// decode fills v, which is settable, from n.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	if !d.plain(n, path) {
		d.hide(n)
		return
	}
	if n.Kind == yaml.ScalarNode && !d.oneLine(n) {
		d.hide(n) // a quote that is not closed where it was meant to be
	}
	switch t := v.Type(); {
	case t == reflect.TypeFor[func() string]():
		d.secret(n, v, path)
	case t.Kind() == reflect.Pointer:
		fresh := reflect.New(t.Elem())
		d.decode(n, fresh.Elem(), path)
		v.Set(fresh)
	case n.Kind == yaml.ScalarNode && t != reflect.TypeFor[time.Duration]() && reflect.PointerTo(t).Implements(textType):
		d.text(n, v, path)
	case t.Kind() == reflect.Struct:
		d.structure(n, v, path)
	case t.Kind() == reflect.Map:
		d.mapping(n, v, path)
	case t.Kind() == reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// plain refuses what YAML can do beyond keys, lists and values. An alias is the
// bomb in a billion laughs; a tag makes a value mean something else.
func (d *decoder) plain(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.wrong(n, path, "aliases (*name) are not taken", "write the value out; if it begins with * itself, put it in quotes")
	case n.Anchor != "":
		d.wrong(n, path, "anchors (&name) are not taken", "remove it; if the value begins with & itself, put it in quotes")
	case n.Style&yaml.TaggedStyle != 0:
		d.wrong(n, path, "tags (!name) are not taken", "remove it; if the value begins with ! itself, put it in quotes")
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.wrong(n, path, "has no value", "give it one, or remove the key")
	default:
		return true
	}
	return false
}

// pairs are the keys of a mapping with their values, without those given twice.
func (d *decoder) pairs(n *yaml.Node, path string) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		seen := make(map[string]int)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			switch {
			case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
				d.wrong(key, path, "a key must be a plain word", "")
			case key.Tag == "!!merge":
				d.wrong(key, path, "merge keys (<<) are not taken", "write the values out")
			case key.Tag == "!!null":
				d.wrong(key, path, "a key is missing before the colon", "")
			case seen[key.Value] != 0:
				d.wrong(key, join(path, key.Value), fmt.Sprintf("is given twice: it is on line %d already", seen[key.Value]), "remove one of the two")
			default:
				seen[key.Value] = key.Line
				if !yield(key, value) {
					return
				}
				continue
			}
			d.hide(value)
		}
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.hide(n)
		d.wrong(n, path, "want keys and values here", "its keys are "+strings.Join(keys(v.Type()), ", "))
		return
	}
	if len(n.Content) == 0 {
		d.wrong(n, path, "is empty", "fill it, or remove the key")
	}
	known := make(map[string]int)
	for f := range fields(v.Type()) {
		known[f.key] = f.index
	}
	for key, value := range d.pairs(n, path) {
		below := join(path, key.Value)
		index, ok := known[key.Value]
		if !ok {
			d.hide(value)
			d.unknown(key, below, slices.Sorted(maps.Keys(known)))
			continue
		}
		d.at(below, key, value)
		d.hideSecret(key, value)
		d.decode(value, v.Field(index), below)
	}
}

// hideSecret hides a value that somebody may have written out.
func (d *decoder) hideSecret(key, value *yaml.Node) {
	if slices.Contains([]string{"password", "client_secret", "refresh_token"}, key.Value) {
		d.hide(value)
	}
}

// unknown reports a key that is not one. The key itself is shown: it is on the
// line anyway, and a secret is a value.
func (d *decoder) unknown(key *yaml.Node, path string, known []string) {
	hint := "the keys here are " + strings.Join(known, ", ")
	if close := closest(key.Value, known); close != "" {
		hint = "did you mean " + close + "?"
		d.broken = append(d.broken, join(parentOf(path, key.Value), close))
	}
	d.wrong(key, path, "is not a key", hint)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.hide(n)
		d.wrong(n, path, "want names with a value each here", "")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	if len(n.Content) == 0 {
		d.wrong(n, path, "is empty", "fill it, or remove the key")
	}
	for key, value := range d.pairs(n, path) {
		below := join(path, key.Value)
		d.at(below, key, value)
		d.hideSecret(key, value)
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, element, below)
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), element)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "want a list here", "write [one] or [one, two]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	if len(n.Content) == 0 && path != "trusted_proxies" { // where empty is safe, and said in examples
		d.wrong(n, path, "an empty list grants nothing", "fill it, or remove the key")
	}
	for i, value := range n.Content {
		below := fmt.Sprintf("%s[%d]", path, i)
		d.at(below, nil, value)
		d.decode(value, v.Index(i), below)
	}
}

type field struct {
	key   string
	index int
}

// fields are the fields of a struct that have a key.
func fields(t reflect.Type) iter.Seq[field] {
	return func(yield func(field) bool) {
		for i := range t.NumField() {
			if key := t.Field(i).Tag.Get("yaml"); key != "" && key != "-" && !yield(field{key, i}) {
				return
			}
		}
	}
}

func keys(t reflect.Type) []string {
	var list []string
	for f := range fields(t) {
		list = append(list, f.key)
	}
	slices.Sort(list)
	return list
}

func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }

// parentOf is the path that join made path of, with key.
func parentOf(path, key string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path, key), ".")
}

// closest is the known word that differs from a word by few letters, or "".
func closest(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range known {
		if n := distance(word, k); n < least && n < len(k)-1 {
			best, least = k, n
		}
	}
	return best
}

// distance counts the letters to insert, remove or change (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
