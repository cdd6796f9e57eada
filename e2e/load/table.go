package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table is what one run has found.
type table struct {
	plan     plan
	machine  string
	subjects []subject // in order
	results  map[string][]result
}

func (t *table) add(s subject, r result) {
	if t.results[s.letter] == nil {
		t.subjects = append(t.subjects, s)
	}
	t.results[s.letter] = append(t.results[s.letter], r)
}

// others is the share of the machine that others had during some loop.
func (t *table) others() (most float64) {
	for _, results := range t.results {
		for _, r := range results {
			most = max(most, r.others)
		}
	}
	return most
}

// median is a subject's median of one column over the rounds. What a subject
// adds is a difference within a round.
func (t *table) median(letter string, column func(own, alone result) float64) float64 {
	var values []float64
	for round, r := range t.results[letter] {
		values = append(values, column(r, t.results["-"][round]))
	}
	return median(values)
}

func median[T cmp.Ordered](values []T) (middle T) {
	if len(values) == 0 {
		return middle
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// The columns that targets are about.
func cpu(own, _ result) float64         { return own.cpu }
func added50(own, alone result) float64 { return micros(own.p50 - alone.p50) }
func added99(own, alone result) float64 { return micros(own.p99 - alone.p99) }
func micros(d time.Duration) float64    { return float64(d) / float64(time.Microsecond) }

// String is the table, with the machine above and the targets below.
func (t *table) String() string {
	var out strings.Builder
	p := t.plan
	fmt.Fprintf(&out, "%s\nmedians of %d rounds; loops of %s; tokens %s; %g of traces exported; others had up to %.0f%% of the machine\n\n",
		t.machine, p.rounds, p.length, p.algorithm, p.sample, 100*t.others())
	w := tabwriter.NewWriter(&out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tCPU-s/100k\trequests/s\tCPU-s/100k\tsleeps by\tadded p50\tadded p99\tRSS\tRSS max\t\n")
	fmt.Fprintf(w, "\tat %d conns\tat %d conns\tat %d/s\trequest\tat %d/s\tat %d/s\tMiB\tMiB\t\n", connections, connections, p.rate, p.rate, p.rate)
	for _, s := range t.subjects {
		name := fmt.Sprintf("(%s) %-26s", s.letter, s.name)
		if s.start == nil {
			fmt.Fprintf(w, "%s\t\t\t\t\t= %.0f µs\t= %.0f µs\t\t\t\n", name,
				t.median(s.letter, func(r, _ result) float64 { return micros(r.p50) }),
				t.median(s.letter, func(r, _ result) float64 { return micros(r.p99) }))
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.0f\t%.2f\t%.1f\t%.0f µs\t%.0f µs\t%.0f\t%.0f\t\n", name,
			t.median(s.letter, cpu),
			t.median(s.letter, func(r, _ result) float64 { return r.rate }),
			t.median(s.letter, func(r, _ result) float64 { return r.steady }),
			t.median(s.letter, func(r, _ result) float64 { return r.switches }),
			t.median(s.letter, added50), t.median(s.letter, added99),
			t.median(s.letter, func(r, _ result) float64 { return r.resident }),
			t.median(s.letter, func(r, _ result) float64 { return r.top }))
	}
	w.Flush()
	t.targets(&out)
	return out.String()
}

// targets says which aims were met, of those that were measured.
func (t *table) targets(out *strings.Builder) {
	say := func(what string, got, limit float64, unit string) {
		verdict := "met"
		if got > limit {
			verdict = "missed"
		}
		fmt.Fprintf(out, "\n%s: %.2f%s, aim %.1f%s: %s", what, got, unit, limit, unit, verdict)
	}
	base, measured := t.median("a", cpu), t.results["a"] != nil
	if measured && t.results["b"] != nil {
		say("CPU of (b) by (a)", t.median("b", cpu)/base, 1.4, "")
	}
	if measured && t.results["d"] != nil {
		say("CPU of (d) by (a)", t.median("d", cpu)/base, 2.5, "")
	}
	if t.results["b"] != nil {
		say("added p99 of (b)", t.median("b", added99)/1000, 1, " ms")
	}
	fmt.Fprintln(out)
}
