package vault

import "bytes"

// Stream looks through what comes in pieces, however they are cut. It holds
// back only what may be the beginning of a match; it has no goroutine and no
// timer. Printing one shows nothing.
type Stream struct{ of func() *stream }

// Edge says what is known of what follows a piece.
type Edge uint8

const (
	// Inside: more was promised, so all that may begin a match can wait for it.
	Inside Edge = iota
	// Pause: whoever reads may have to act before more comes. What may begin a
	// match waits only from its fourth byte on: three of a credential may pass,
	// and the others are masked when they come.
	Pause
	// End: nothing follows, and nothing is held back.
	End
)

// pauseMost is how many bytes of what may be a match pass at a Pause.
const pauseMost = 3

// Stream begins to look through a body.
func (g *Guard) Stream() *Stream {
	s := &stream{needles: g.needles()}
	return &Stream{func() *stream { return s }}
}

// Scan takes the next piece, which it may change, and returns what may be passed
// on, in order and masked: valid until the next call. Over all calls that is as
// long as what was put in.
func (s *Stream) Scan(piece []byte, at Edge) (out []byte, found bool) { return s.of().scan(piece, at) }

// stream is the state of a Stream.
type stream struct {
	needles *needles
	tail    []byte                 // what may begin a match, as it came
	passed  int                    // so much of it has been let out
	masked  []span                 // of it, by matches that began before it
	resume  [len(escapings)]int    // the first of it that is not inside an escape
	joined  []byte                 // tail and piece; reused, as all below
	matches []span                 // of joined, or of the piece
	undone  [len(escapings)]undone // of the same
	found   []span                 // in an undone text
}

func (s *stream) scan(piece []byte, at Edge) (out []byte, found bool) {
	text := piece
	if len(s.tail) > 0 {
		s.joined = append(append(s.joined[:0], s.tail...), piece...)
		text = s.joined
	}
	var open int // where the tail begins that may yet become a match
	s.matches, open = s.needles.search(text, s.matches[:0])
	held := open // from here on it is not let out
	if at == Pause && len(text)-open <= pauseMost {
		held = len(text)
	}
	for i, e := range escapings {
		s.resume[i] = min(s.resume[i], len(text))
		if bytes.IndexByte(text[s.resume[i]:], e.mark) < 0 {
			s.undone[i] = undone{from: s.resume[i], text: s.undone[i].text[:0], escapes: s.undone[i].escapes[:0]}
			continue // it reads as it is written
		}
		begins, size := s.read(i, text, at)
		open = min(open, begins)
		if at != Pause || size > pauseMost {
			held = min(held, begins)
		}
	}
	if at == End {
		open, held = len(text), len(text)
	}
	found = len(s.matches) > 0
	return s.release(text, open, max(held, s.passed)), found
}

// read searches text with its escapes undone. It returns where in text the tail
// begins that may yet become a match, and how many bytes it stands for.
func (s *stream) read(i int, text []byte, at Edge) (begins, size int) {
	u := &s.undone[i]
	u.undo(escapings[i], text, s.resume[i], at == End)
	var open int
	s.found, open = s.needles.search(u.text, s.found[:0])
	for _, f := range s.found {
		s.matches = append(s.matches, u.source(f))
	}
	size = len(u.text) - open
	begins = u.end
	if u.end < len(text) {
		size++ // for the escape that is cut off
	}
	if open < len(u.text) {
		begins = u.locate(open).start
	}
	return begins, size
}

// release keeps text from open on as the tail, and returns, masked, what lies
// before held and was not let out before.
func (s *stream) release(text []byte, open, held int) []byte {
	for i := range s.undone {
		s.resume[i] = s.undone[i].boundary(open) - open
	}
	s.tail = append(s.tail[:0], text[open:]...)
	s.matches = append(s.matches, s.masked...)
	s.masked = s.masked[:0]
	for _, m := range s.matches {
		if m.end > open {
			s.masked = append(s.masked, span{max(m.start-open, 0), m.end - open})
		}
		for i := max(m.start, s.passed); i < min(m.end, held); i++ {
			text[i] = '*'
		}
	}
	out := text[s.passed:held]
	s.passed = held - open
	return out
}
