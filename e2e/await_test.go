package e2e_test

import (
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// await looks at a URL or at files until a pattern is in them so often, or not
// at all any more, and shows what it saw last.
func await(ts *testscript.TestScript, s *scenario, args []string) {
	flags := flag.NewFlagSet("await", flag.ContinueOnError)
	times := flags.Int("n", 1, "")
	gone := flags.Bool("gone", false, "")
	accept := flags.String("accept", "", "")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() == 2, "await [-n N] [-gone] [-accept TYPE] URL|FILES PATTERN")
	from, pattern := flags.Arg(0), regexp.MustCompile("(?m)"+flags.Arg(1))
	look := func() string { return contents(ts, from) }
	if strings.HasPrefix(from, "http") {
		look = func() string { return s.fetch(from, *accept) }
	}
	var last string
	ok := s.poll(func() bool {
		last = look()
		found := len(pattern.FindAllStringIndex(last, -1))
		return *gone && found == 0 && last != "" || !*gone && found >= *times
	})
	io.WriteString(ts.Stdout(), last)
	if !ok {
		ts.Fatalf("%s never came to have %s", from, pattern)
	}
}

// fetch is the body at a URL, or nothing.
func (s *scenario) fetch(url, accept string) string {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	req.Header.Set("Accept", accept)
	resp, err := caller.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	s.Saw(url, text)
	return string(text)
}

// contents are the files of a glob, in the order of their names.
func contents(ts *testscript.TestScript, glob string) string {
	names, err := filepath.Glob(ts.MkAbs(glob))
	ts.Check(err)
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		ts.Check(err)
		all.Write(text)
	}
	return all.String()
}
