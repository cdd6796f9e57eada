package examples_test

import (
	"reflect"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/examples"
)

func TestStepsAreTheBlocksOfTheirTerminals(t *testing.T) {
	const readme = "# Title\n\n## Terminal 1, left running: parts\n\n```sh\nvaultspan dev\n```\n```text\nReady.…\n```\n\n**Terminal 2**\n\n```sh\na \\\n  b\n\nc\n```\n\n**Terminal 1** again:\n\n```text\nmore\n```\n"
	got, err := examples.Steps(readme)
	want := []examples.Step{
		{Line: 5, Terminal: "Terminal 1", Running: true, Script: "vaultspan dev\n", Sees: []string{"Ready.…"}},
		{Line: 14, Terminal: "Terminal 2", Script: "a \\\n  b\n\nc\n"},
		{Line: 23, Terminal: "Terminal 1", Running: true, Sees: []string{"more"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{
		"", "no commands", "```sh\na\n```\n", "## Terminal 1\n```sh\na\n", "## Terminal 1\n```text\na\n```\n",
		"## Terminal 1\n```\na\n```\n", "## Terminal 1\n```sh\na\n```\n```text\n```\n```text\n```\n",
	} {
		if steps, err := examples.Steps(bad); err == nil {
			t.Errorf("%q: %+v", bad, steps)
		}
	}
}

func TestWhatIsSeenComesInOrder(t *testing.T) {
	const output = "one\r\ntwo 2 2\nthree\n"
	for want, missing := range map[*[]string]string{
		{}:                          "",
		{"one", "", "two … 2"}:      "",
		{"two…", "three"}:           "",
		{"three", "one"}:            "one",
		{"one", "one"}:              "one",
		{"on"}:                      "on",
		{"one", "two … 3", "three"}: "two … 3",
	} {
		if got := (examples.Step{Sees: *want}).Missing(output); got != missing {
			t.Errorf("%q: %q is missing, want %q", *want, got, missing)
		}
	}
}
