package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vaultspan/vaultspan/policy"
)

// Problem is one thing wrong with the configuration, where it is and what to do
// about it. It holds no value of a secret, nor one that may have been meant as
// one.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 when it is about the file as a whole
	Path         string // such as routes[0].upstream
	Source       string // the line, as far as it may be shown
	Text         string // what is wrong, and what to do
	Hint         string // more of what to do

	caret int // the column in Source, which may be a part of the line
}

// Error is the problem as compilers write it.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, max(p.Column, 1))
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	if p.Source != "" {
		number := fmt.Sprintf("%5d", p.Line)
		fmt.Fprintf(&b, "\n%s | %s", number, p.Source)
		if p.caret > 0 && p.caret <= utf8.RuneCountInString(p.Source) {
			fmt.Fprintf(&b, "\n%s | %s^", strings.Repeat(" ", len(number)), strings.Repeat(" ", p.caret-1))
		}
	}
	if p.Hint != "" {
		b.WriteString("\n      = " + p.Hint)
	}
	return b.String()
}

// Problems is everything wrong with a configuration, in the order of the file.
type Problems []Problem

// Error is every problem, one after the other.
func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "\n")
}

func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(ps)
}

// AllProblems joins what several packages found into one list, in order. An
// error without a place is one of the file. What policy says of the
// configuration again is left out.
func AllProblems(file string, errs ...error) Problems {
	var all Problems
	for _, err := range errs {
		if err == nil {
			continue
		}
		if ps, ok := errors.AsType[Problems](err); ok {
			all = append(all, ps...)
		} else if ps, ok := errors.AsType[policy.Problems](err); ok {
			for _, p := range ps {
				if !slices.ContainsFunc(all, func(known Problem) bool { return repeats(p, known) }) {
					all = append(all, fromPolicy(cmp.Or(p.File, file), p))
				}
			}
		} else {
			all = append(all, Problem{File: file, Text: err.Error()})
		}
	}
	return all.sorted()
}

// repeats says whether policy says again what Load has said with its place.
func repeats(p policy.Problem, known Problem) bool {
	if p.File != "" {
		return p.Line == 0 && p.Text == known.Text
	}
	path, _, _ := strings.Cut(p.Text, ": ")
	return known.Path != "" && related(known.Path, path)
}

// fromPolicy gives a problem of Rego its source line.
func fromPolicy(file string, p policy.Problem) Problem {
	problem := Problem{File: file, Line: p.Line, Column: p.Col, Text: p.Text}
	text, err := readFile(p.File, maxFile)
	if err != nil {
		return problem
	}
	if lines := strings.Split(string(text), "\n"); p.Line >= 1 && p.Line <= len(lines) {
		problem.Source, problem.caret = shown(lines[p.Line-1], p.Col)
	}
	return problem
}

// shown is a line as a terminal may be given it, and where the column of it is:
// tabs are one space, what is not printable a dot, and the part around the column
// stands for a very long line.
func shown(line string, column int) (string, int) {
	runes := []rune(strings.TrimRight(line, " \r\n\t"))
	for i, r := range runes {
		if r == '\t' {
			runes[i] = ' '
		} else if !unicode.IsPrint(r) {
			runes[i] = '·'
		}
	}
	const width = 120
	if column <= width {
		return string(runes[:min(len(runes), width)]), column
	}
	from := min(column-width/2, len(runes))
	return string(runes[from:min(len(runes), from+width)]), column - from
}
