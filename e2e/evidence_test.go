package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// event is what the tests read of a record, by the names that are documented.
type event struct {
	Kind, Trace, Attempt, Code string
	Count                      int
}

// logged are the records in $WORK/audit so far. The unfinished last line of a
// log that is being written is none.
func logged(ts *testscript.TestScript) []string {
	text := contents(ts, "audit/*.jsonl")
	return strings.Split(text, "\n")[:strings.Count(text, "\n")]
}

// records shows fields of the audit log's records, or counts them.
func records(ts *testscript.TestScript, _ *scenario, args []string) {
	flags := flag.NewFlagSet("records", flag.ContinueOnError)
	kind := flags.String("kind", "", "")
	count := flags.Bool("count", false, "")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() > 0, "records [-kind KIND] [-count] FIELD…")
	var lines []string
	counts := map[string]int{}
	for _, line := range logged(ts) {
		var fields map[string]any
		var e event
		ts.Check(json.Unmarshal([]byte(line), &fields))
		ts.Check(json.Unmarshal([]byte(line), &e))
		if *kind != "" && e.Kind != *kind {
			continue
		}
		var shown []string
		for _, name := range flags.Args() {
			value, ok := fields[name]
			if !ok {
				value = "-"
			}
			shown = append(shown, fmt.Sprint(value))
		}
		lines = append(lines, strings.Join(shown, " "))
		counts[lines[len(lines)-1]] += max(e.Count, 1)
	}
	if *count {
		lines = nil
		for _, line := range slices.Sorted(maps.Keys(counts)) {
			lines = append(lines, fmt.Sprint(counts[line], " ", line))
		}
	}
	for _, line := range lines {
		fmt.Fprintln(ts.Stdout(), line)
	}
}

// accounted says that every refusal that a caller of this script was told is in
// the audit log: by its trace, or counted in an aggregate of its code. A refusal
// after the intent is its outcome.
func accounted(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 0, "accounted")
	s.mu.Lock()
	told := slices.Clone(s.refused)
	s.mu.Unlock()
	codes := map[string]string{} // by trace
	for _, r := range told {
		codes[r.trace] = r.code
	}
	var problem string
	var alone, together int
	if !s.poll(func() bool {
		alone, together, problem = tally(ts, told, codes)
		return problem == ""
	}) {
		ts.Fatalf("%s", problem)
	}
	fmt.Fprintf(ts.Stdout(), "%d refusals have a record of their own, %d are in aggregates\n", alone, together)
}

// tally compares what callers were told with the log.
func tally(ts *testscript.TestScript, told []refusal, codes map[string]string) (alone, together int, problem string) {
	records, counted := map[string]int{}, map[string]int{}
	for _, line := range logged(ts) {
		var e event
		ts.Check(json.Unmarshal([]byte(line), &e))
		switch {
		case e.Kind != "refusal" && e.Kind != "outcome" || codes[e.Trace] != e.Code:
		case e.Count > 0:
			counted[e.Code] += e.Count
		default:
			records[e.Trace]++
		}
	}
	missing := map[string]int{}
	for _, r := range told {
		switch records[r.trace] {
		case 0:
			missing[r.code]++
			together++
		case 1:
			alone++
		default:
			return 0, 0, fmt.Sprintf("trace %s has %d records", r.trace, records[r.trace])
		}
	}
	if !maps.Equal(missing, counted) {
		problem = fmt.Sprintf("without a record of their own are %v, in aggregates %v", missing, counted)
	}
	return alone, together, problem
}
