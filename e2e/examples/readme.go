// Package examples follows a README as its reader does: it types the commands
// into terminals, byte for byte, and looks for what the README says one sees.
//
// A README names its terminals in headings. A fenced block of "sh" is typed into
// the terminal of its heading; a block of "text" is what is seen there then, line
// by line, where … stands for anything and other lines may come between. In a
// terminal "left running" the commands do not end; Ctrl-C must end them. What is
// under the heading "Once" needs a network and is done before.
package examples

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Step is one block of commands.
type Step struct {
	Line     int    // of the README
	Terminal string // such as Terminal 2
	Running  bool   // the last command goes on
	Script   string // empty: something is left running already
	Sees     []string
}

// Once is the terminal of what is done before, where there is a network.
const Once = "Once"

var heading = regexp.MustCompile(`^(?:#+ |\*\*)(Terminal \d|Once)\b(.*)$`)

// Steps are the commands of a README, in order.
func Steps(readme string) ([]Step, error) {
	var steps []Step
	var at, rest string
	lines := strings.Split(readme, "\n")
	for i := 0; i < len(lines); i++ {
		if m := heading.FindStringSubmatch(lines[i]); m != nil {
			at, rest = m[1], m[2]
		}
		language, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		begin := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the block does not end", begin)
		}
		block := lines[begin:i]
		switch language {
		case "sh":
			if at == "" {
				return nil, fmt.Errorf("line %d: commands before any terminal", begin)
			}
			steps = append(steps, Step{Line: begin, Terminal: at, Running: strings.Contains(rest, "left running"), Script: strings.Join(block, "\n") + "\n"})
		case "text":
			last := len(steps) - 1
			switch {
			case last >= 0 && steps[last].Terminal == at && steps[last].Sees == nil:
				steps[last].Sees = block
			case slices.ContainsFunc(steps, func(s Step) bool { return s.Terminal == at && s.Running }):
				steps = append(steps, Step{Line: begin, Terminal: at, Running: true, Sees: block})
			default:
				return nil, fmt.Errorf("line %d: what is seen, but after which commands?", begin)
			}
		default:
			return nil, fmt.Errorf("line %d: a block of %q is neither commands (sh) nor what is seen (text)", begin, language)
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("no commands")
	}
	return steps, nil
}

// Missing is the first of the lines that is not in output after those before it,
// or "".
func (s Step) Missing(output string) string {
	lines := strings.Split(output, "\n")
	for _, want := range s.Sees {
		if strings.TrimSpace(want) == "" {
			continue
		}
		parts := strings.Split(want, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern := regexp.MustCompile(`^` + strings.Join(parts, `.*`) + `\r?$`)
		found := false
		for !found && len(lines) > 0 {
			found = pattern.MatchString(lines[0])
			lines = lines[1:]
		}
		if !found {
			return want
		}
	}
	return ""
}
