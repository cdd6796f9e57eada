package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// variables are arguments or the environment. They are what BuildKit's shell
// looks words up in.
type variables map[string]string

func (v variables) Get(name string) (string, bool) { value, ok := v[name]; return value, ok }

func (v variables) Keys() []string { return slices.Sorted(maps.Keys(v)) }

// merged is v with others over it.
func (v variables) merged(others variables) variables {
	all := maps.Clone(v)
	maps.Copy(all, others)
	return all
}

// expand replaces $NAME in a word.
func (v variables) expand(word string) (string, error) {
	result, unmatched, err := shell.NewLex('\\').ProcessWord(word, v)
	if err == nil && len(unmatched) > 0 {
		err = fmt.Errorf("%s: nothing is called %v", word, slices.Sorted(maps.Keys(unmatched)))
	}
	return result, err
}

// declare adds an ARG: as given, or with its default.
func (v variables) declare(c *instructions.ArgCommand, given variables) error {
	for _, arg := range c.Args {
		switch value, ok := given[arg.Key]; {
		case ok:
			v[arg.Key] = value
		case arg.Value != nil:
			value, err := v.expand(*arg.Value)
			if err != nil {
				return err
			}
			v[arg.Key] = value
		}
	}
	return nil
}

// list is NAME=value, sorted.
func (v variables) list() []string {
	var all []string
	for _, name := range v.Keys() {
		all = append(all, name+"="+v[name])
	}
	return all
}
