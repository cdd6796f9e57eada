package vault_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// frame is one of a server's, RFC 6455, section 5.2.
func frame(head byte, payload string) string {
	b := []byte{head}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return string(b) + payload
}

const (
	text, last, whole, ping, closing = 0x01, 0x80, 0x81, 0x89, 0x88
	more                             = 0x00
)

func frames(g *vault.Guard, bytes string, cuts ...int) (out string, found bool, err error) {
	f := g.Frames()
	var all []byte
	start := 0
	for _, cut := range append(cuts, len(bytes)) {
		piece, hit, err := f.Scan([]byte(bytes[start:cut]))
		all, found, start = append(all, piece...), found || hit, cut
		if err != nil {
			return string(all), found, err
		}
	}
	piece, hit := f.End()
	return string(append(all, piece...)), found || hit, nil
}

// J02: across frames of one message, with a ping in between, and read in pieces
// that end anywhere.
func TestFramesAreWatchedAtEverySplitPoint(t *testing.T) {
	const value = "CANARY-0123456789"
	g := guardOf(t, value, vault.Bearer())
	hidden := strings.Repeat("*", len(value))
	for i := range len(value) + 1 {
		sent := frame(whole, "hello") + frame(text, "<"+value[:i]) + frame(ping, "p") + frame(more, "") + frame(more|last, value[i:]+">") +
			frame(ping, "a "+value) + frame(2|last, strings.Repeat("y", 300)+value) + frame(closing, "\x03\xe8"+value)
		want := frame(whole, "hello") + frame(text, "<"+hidden[:i]) + frame(ping, "p") + frame(more, "") + frame(more|last, hidden[i:]+">") +
			frame(ping, "a "+hidden) + frame(2|last, strings.Repeat("y", 300)+hidden) + frame(closing, "\x03\xe8"+hidden)
		for cut := range len(sent) + 1 {
			if got, found, err := frames(g, sent, cut, cut+(len(sent)-cut)/3); got != want || !found || err != nil {
				t.Fatalf("J02 frames split at %d, read to %d:\n%q, found %v, %v, want\n%q", i, cut, got, found, err, want)
			}
		}
		every := make([]int, len(sent))
		for n := range every {
			every[n] = n
		}
		if got, _, err := frames(g, sent, every...); got != want || err != nil {
			t.Fatalf("J02 frames split at %d, read byte by byte:\n%q, %v, want\n%q", i, got, err, want)
		}
	}
	if out, found, err := frames(g, frame(whole, "nothing")+frame(ping, "")+frame(closing, "")); found || err != nil || len(out) != 9+2+2 {
		t.Errorf("%q, %v, %v", out, found, err)
	}
}

// Across messages the credential is found too: but a message is not held back
// for three bytes that may be anything.
func TestMessagesDoNotWaitForWhatMayBeAMatch(t *testing.T) {
	const value = "CANARY-0123456789"
	g := guardOf(t, value, vault.Bearer())
	f := g.Frames()
	first := frame(whole, "it is CAN")
	if out, found, err := f.Scan([]byte(first)); string(out) != first || found || err != nil {
		t.Errorf("%q, %v, %v", out, found, err)
	}
	second := frame(whole, value[3:])
	if out, found, err := f.Scan([]byte(second)); string(out) != frame(whole, strings.Repeat("*", len(value)-3)) || !found || err != nil {
		t.Errorf("%q, %v, %v", out, found, err)
	}
	// A frame that is not whole promises more, so its end waits.
	if out, _, _ := f.Scan([]byte("\x81\x09it is CAN")[:10]); string(out) != "\x81\x09it is " {
		t.Errorf("%q", out)
	}
}

// A server that does not speak the protocol, or as a client does, or with an
// extension, is not guessed at.
func TestMalformedFramesEndTheConnection(t *testing.T) {
	g := guardOf(t, "CANARY-0123456789", vault.Bearer())
	for name, sent := range map[string]string{
		"masked":                          "\x81\x81\x00\x00\x00\x00x",
		"compressed":                      "\xc1\x00",
		"a reserved bit":                  "\x91\x00",
		"a reserved opcode":               "\x83\x00",
		"a reserved control opcode":       "\x8b\x00",
		"a fragmented ping":               "\x09\x00",
		"a long ping":                     "\x89\x7e\x00\x80",
		"a continuation of nothing":       "\x80\x00",
		"a message within a message":      "\x01\x00\x81\x00",
		"a short length written long, 16": "\x81\x7e\x00\x7d",
		"a short length written long, 64": "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
		"a negative length":               "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
		"no WebSocket":                    "HTTP/1.1 200 OK\r\n",
	} {
		for cut := range len(sent) {
			if out, _, err := frames(g, frame(whole, "x")+sent, 3+cut); err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s, cut at %d: %q passes", name, cut, out)
			}
		}
	}
	if out, found := g.Frames().End(); len(out) != 0 || found {
		t.Error("nothing ends in something")
	}
}

// However frames and pieces are cut, what is passed on has the same length and
// the same heads, and the payloads are what a look at them whole makes of them.
func TestFramesCutAtRandom(t *testing.T) {
	const value = "CANARY-0123456789"
	g := guardOf(t, value, vault.Bearer())
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 1))
		payload := weave(random, value, strings.Repeat("z", 10))
		masked, _ := g.Text(payload)
		var sent, want strings.Builder
		head := byte(text)
		for payload != "" {
			n := random.IntN(min(len(payload), 200)) + 1
			if n == len(payload) {
				head |= last
			}
			sent.WriteString(frame(head, payload[:n]))
			want.WriteString(frame(head, masked[:n]))
			payload, masked, head = payload[n:], masked[n:], more
			if random.IntN(3) == 0 {
				sent.WriteString(frame(ping, "ping"))
				want.WriteString(frame(ping, "ping"))
			}
		}
		f := g.Frames()
		var got []byte
		for rest := sent.String(); rest != ""; {
			n := random.IntN(min(len(rest), 90)) + 1
			out, _, err := f.Scan([]byte(rest[:n]))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			got, rest = append(got, out...), rest[n:]
		}
		out, _ := f.End()
		if got = append(got, out...); string(got) != want.String() {
			t.Fatalf("seed %d:\n%q, want\n%q", seed, got, want.String())
		}
	}
}

func BenchmarkFrames(b *testing.B) {
	g := guardOf(b, "sk_live_51H8xYzLkjdF93hfKJSDhf8w7ehfksjdf", vault.Bearer())
	for name, sent := range map[string]string{
		"messages of 200 bytes": strings.Repeat(frame(whole, strings.Repeat("a message ", 20)), 160),
		"a message of 32KB":     frame(whole, strings.Repeat("a message ", 3276)),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(sent)))
			b.ReportAllocs()
			f := g.Frames()
			piece := []byte(sent)
			for b.Loop() {
				if _, _, err := f.Scan(piece); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
