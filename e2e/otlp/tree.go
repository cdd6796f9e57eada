package otlp

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// View says how a trace is written down for a golden file: what is the same in
// every run, and nothing else. Spans are sorted by start; no id or time is shown.
type View struct {
	// Show lists the attributes to write with their values, as patterns of
	// path.Match: "vaultspan.*".
	Show []string
	// Volatile lists, of those, the attributes whose value differs from run to
	// run: they are written without it.
	Volatile []string
}

// Tree writes the spans of one trace. all is where the spans that links lead to
// are looked up for their names.
func (v View) Tree(spans, all []Span) string {
	spans = slices.SortedFunc(slices.Values(spans), byStart)
	byID := map[string]bool{}
	for _, sp := range spans {
		byID[sp.SpanID] = true
	}
	children := map[string][]Span{}
	for _, sp := range spans {
		parent := sp.Parent
		if !byID[parent] {
			parent = "" // the caller's, or not exported: shown at the top
		}
		children[parent] = append(children[parent], sp)
	}
	var b strings.Builder
	var write func(parent, indent string)
	write = func(parent, indent string) {
		for i, sp := range children[parent] {
			branch, next := "", ""
			if parent != "" {
				branch, next = "├─ ", "│  "
				if i == len(children[parent])-1 {
					branch, next = "└─ ", "   "
				}
			}
			fmt.Fprintf(&b, "%s%s%s %s\n", indent, branch, sp.Name, sp.Kind)
			for _, line := range v.details(sp, all) {
				margin := indent + next
				if len(children[sp.SpanID]) > 0 {
					margin += "│"
				}
				fmt.Fprintf(&b, "%-*s%s\n", len([]rune(indent+next))+4, margin, line)
			}
			write(sp.SpanID, indent+next)
		}
	}
	write("", "")
	return b.String()
}

// details are the lines below a span's name.
func (v View) details(sp Span, all []Span) []string {
	var lines []string
	if sp.Error {
		lines = append(lines, strings.TrimSpace("error: "+sp.Message))
	}
	for _, key := range slices.Sorted(maps.Keys(sp.Attributes)) {
		switch {
		case !matches(v.Show, key):
		case matches(v.Volatile, key):
			lines = append(lines, key+" …")
		default:
			lines = append(lines, key+"="+sp.Attributes[key])
		}
	}
	for _, event := range sp.Events {
		lines = append(lines, "event "+event)
	}
	for _, link := range sp.Links {
		to := "a span that was not exported"
		if i := slices.IndexFunc(all, func(o Span) bool { return o.SpanID == link.SpanID && o.TraceID == link.TraceID }); i >= 0 {
			to = all[i].Name
		}
		lines = append(lines, "link → "+to)
	}
	return lines
}

func matches(patterns []string, key string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, key)
		return ok
	})
}
