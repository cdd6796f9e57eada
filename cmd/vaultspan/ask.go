package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal asks whoever started the program.
type terminal struct {
	in  io.Reader
	out io.Writer

	buffered *bufio.Reader
}

// interactive says whether somebody is there to ask.
func (t *terminal) interactive() bool {
	f, ok := t.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// asking is one question.
type asking struct {
	text     string
	fallback string // what an empty answer means
	hidden   bool   // what is typed is not shown
	check    func(string) error
}

// ask repeats the question until the answer is good.
func (t *terminal) ask(ctx context.Context, q asking) (string, error) {
	prompt := q.text + ": "
	if q.fallback != "" {
		prompt = fmt.Sprintf("%s [%s]: ", q.text, q.fallback)
	}
	for {
		answer, err := t.answer(ctx, prompt, q.hidden)
		if err != nil {
			fmt.Fprintln(t.out)
			return "", err
		}
		answer = cmp.Or(answer, q.fallback)
		if err = q.check(answer); err == nil {
			return answer, nil
		}
		fmt.Fprintf(t.out, "  %v\n", err)
	}
}

func (t *terminal) answer(ctx context.Context, prompt string, hidden bool) (string, error) {
	if f, ok := t.in.(*os.File); ok && hidden {
		return t.hidden(ctx, int(f.Fd()), prompt)
	}
	fmt.Fprint(t.out, prompt)
	return t.line(ctx)
}

// errNoAnswer says that the answers ended, as with Ctrl-D.
var errNoAnswer = errors.New("no answer, so nothing was written")

// line reads one line, without the space around it.
func (t *terminal) line(ctx context.Context) (string, error) {
	if t.buffered == nil {
		t.buffered = bufio.NewReader(t.in)
	}
	return await(ctx, func() (string, error) {
		text, err := t.buffered.ReadString('\n')
		if text != "" {
			err = nil // a last line needs no end
		}
		return strings.TrimSpace(text), err
	})
}

// hidden is line without echo, which is off before the prompt is there and on
// again afterwards whatever happens.
func (t *terminal) hidden(ctx context.Context, fd int, prompt string) (string, error) {
	state, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{t.in, t.out}, "")
	text, err := await(ctx, func() (string, error) { return screen.ReadPassword(prompt) })
	return strings.TrimSpace(text), errors.Join(err, term.Restore(fd, state))
}

// await reads until ctx ends: Ctrl-C must end a question. What still reads then
// ends with the process.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		if errors.Is(r.err, io.EOF) {
			return "", errNoAnswer
		}
		return r.text, r.err
	case <-ctx.Done():
		return "", errNoAnswer
	}
}
