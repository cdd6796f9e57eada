package policy

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Problem is one thing wrong with the rules, and what to do about it.
type Problem struct {
	File      string // empty when it is not in a module
	Line, Col int    // from 1; 0 when the problem is the file as a whole
	Text      string
}

// Error is file:line:col: text, as editors know it.
func (p Problem) Error() string {
	place := p.File
	if p.Line > 0 {
		place += ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(max(p.Col, 1))
	}
	if place == "" {
		return p.Text
	}
	return place + ": " + p.Text
}

// Problems is everything wrong with the rules: the error of New.
type Problems []Problem

// Error is one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find each Problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// err sorts the problems by place, drops repetitions, and is nil without any.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return slices.Compact(ps)
}

func (ps *Problems) at(loc *ast.Location, text string) {
	loc = cmp.Or(loc, &ast.Location{}) // the compiler writes terms of its own
	*ps = append(*ps, Problem{File: loc.File, Line: loc.Row, Col: loc.Col, Text: text})
}

// file adds a problem of a file as a whole.
func (ps *Problems) file(name, text string) {
	*ps = append(*ps, Problem{File: name, Text: text})
}

func (ps *Problems) unreadable(name string, err error) {
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err // the name is said already
	}
	ps.file(name, "cannot be read: "+err.Error())
}

// rego adds what OPA says; file stands in where OPA names none,
// as it does for a place in our own query.
func (ps *Problems) rego(file string, err error) {
	list, ok := errors.AsType[ast.Errors](err)
	if !ok {
		if one, ok := errors.AsType[*ast.Error](err); ok {
			list = ast.Errors{one}
		} else {
			ps.file(file, err.Error())
			return
		}
	}
	for _, e := range list {
		text := e.Message
		if e.Details != nil {
			text += details(e.Details.Lines())
		}
		if e.Location == nil || e.Location.File == "" {
			ps.file(file, text)
		} else {
			ps.at(e.Location, text)
		}
	}
}

// details folds OPA's drawing of an error into one line. The drawing repeats
// the reference and underlines it; what it has and what is wanted is worth
// keeping.
func details(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if slices.ContainsFunc([]string{"have", "want", "left", "right"}, func(word string) bool { return strings.HasPrefix(line, word) }) {
			b.WriteString("; " + line)
		}
	}
	return b.String()
}
