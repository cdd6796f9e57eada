package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/policy"
)

// Problem is one thing that is wrong with a configuration, and where.
type Problem struct {
	File   string
	Line   int    // from 1; 0 when the problem has no line
	Column int    // from 1; 0 when the problem has no column
	Path   string // in the file's own words, such as routes[2].upstream; may be empty
	Text   string // what is wrong and what to do
	Source string // the line, when it can be shown
}

// Error renders the problem as a compiler would: place, words, the line and a
// caret.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, max(1, p.Column))
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	if p.Source != "" {
		gutter := fmt.Sprintf("%5d | ", p.Line)
		indent := strings.Map(func(c rune) rune {
			if c == '\t' {
				return c
			}
			return ' '
		}, p.Source[:min(max(0, p.Column-1), len(p.Source))])
		fmt.Fprintf(&b, "\n%s%s\n%s%s^", gutter, p.Source, strings.Repeat(" ", len(gutter)-2)+"| ", indent)
	}
	return b.String()
}

// Problems is everything that is wrong, in the order of the file.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders problems by place and drops repetitions.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return (a.Line-b.Line)*10_000 + a.Column - b.Column
	})
	return slices.Compact(ps)
}

// AllProblems joins what several packages found into one list, in order. An
// error that is no problem with a place becomes one without.
func AllProblems(file string, errs ...error) Problems {
	var all Problems
	for _, err := range errs {
		if err == nil {
			continue
		}
		if ps, ok := errors.AsType[Problems](err); ok {
			all = append(all, ps...)
			continue
		}
		if ps, ok := errors.AsType[policy.Problems](err); ok {
			for _, p := range ps {
				all = append(all, Problem{File: p.File, Line: p.Line, Column: p.Col, Text: p.Text})
			}
			continue
		}
		all = append(all, Problem{File: file, Text: err.Error()})
	}
	return all.sorted()
}
