package vault

import (
	"encoding/binary"
	"errors"
)

// Frames looks through what a server sends on a WebSocket (RFC 6455, section
// 5). The payloads of all its messages are one text, however they are cut into
// frames, read and passed on as they come; each control frame is a text of its
// own. Frames stay as they are, but for what is masked. It understands no
// extensions: none may be negotiated. Printing one shows nothing.
type Frames struct{ of func() *frames }

// errFrames is all that is said of a server that does not speak the protocol.
var errFrames = errors.New("the server's WebSocket frames are not well-formed (RFC 6455, section 5.2)")

// Frames begins to look through a connection, after its handshake.
func (g *Guard) Frames() *Frames {
	f := &frames{payloads: stream{needles: g.needles()}}
	return &Frames{func() *frames { return f }}
}

// Scan takes what was read next, which it may change, and returns what may be
// passed on, in order and masked: valid until the next call. After an error the
// connection is of no use: nobody knows any more what is payload.
func (f *Frames) Scan(piece []byte) (out []byte, found bool, err error) { return f.of().scan(piece) }

// End returns what was held back, when the connection ended.
func (f *Frames) End() (out []byte, found bool) { return f.of().end() }

// frames is the state of Frames.
type frames struct {
	payloads stream // of messages
	queue    []byte // not passed on yet
	ready    int    // so much of it was returned by the last call
	waits    []span // payloads of messages in it that are not through yet
	control  []byte // the payload of a control frame so far, which waits at the queue's end

	head      []byte // of the frame under way, as far as it is there
	frame     frame
	left      uint64 // of its payload
	inPayload bool
	inMessage bool // a message is not finished
}

// frame is what the head of a frame says.
type frame struct {
	last    bool // of its message
	opcode  byte
	payload uint64
}

func (f frame) isControl() bool { return f.opcode >= 8 }

func (f *frames) scan(piece []byte) (out []byte, found bool, err error) {
	f.forget()
	for {
		if !f.inPayload {
			if len(piece) == 0 {
				break
			}
			f.head, piece = append(f.head, piece[0]), piece[1:]
			whole, err := f.readHead()
			if err != nil {
				return nil, found, err
			}
			if !whole {
				continue
			}
		}
		n := int(min(f.left, uint64(len(piece))))
		if f.payload(piece[:n]) {
			found = true
		}
		piece = piece[n:]
		if f.left -= uint64(n); f.left > 0 {
			break
		}
		if f.finish() {
			found = true
		}
	}
	return f.take(), found, nil
}

// forget drops what the last call returned.
func (f *frames) forget() {
	f.queue = f.queue[:copy(f.queue, f.queue[f.ready:])]
	for i := range f.waits {
		f.waits[i].start -= f.ready
		f.waits[i].end -= f.ready
	}
	f.ready = 0
}

// take is what of the queue is through.
func (f *frames) take() []byte {
	f.ready = len(f.queue)
	if len(f.waits) > 0 {
		f.ready = f.waits[0].start
	}
	return f.queue[:f.ready]
}

// readHead looks at the head so far. What is malformed must not be guessed at:
// the caller's client may guess otherwise.
func (f *frames) readHead() (whole bool, err error) {
	h := f.head
	if len(h) < 2 {
		return false, nil
	}
	now := frame{last: h[0]&0x80 != 0, opcode: h[0] & 0x0F, payload: uint64(h[1] & 0x7F)}
	opens := now.opcode == 1 || now.opcode == 2
	switch {
	case h[0]&0x70 != 0, h[1]&0x80 != 0: // an extension, or masked
		return false, errFrames
	case now.isControl():
		if now.opcode > 10 || !now.last || now.payload > 125 {
			return false, errFrames
		}
	case opens == f.inMessage, !opens && now.opcode != 0:
		return false, errFrames
	}
	switch now.payload {
	case 126:
		if len(h) < 4 {
			return false, nil
		}
		if now.payload = uint64(binary.BigEndian.Uint16(h[2:])); now.payload < 126 {
			return false, errFrames
		}
	case 127:
		if len(h) < 10 {
			return false, nil
		}
		if now.payload = binary.BigEndian.Uint64(h[2:]); now.payload < 1<<16 || now.payload >= 1<<63 {
			return false, errFrames
		}
	}
	f.queue = append(f.queue, h...)
	f.head, f.frame, f.left, f.inPayload = h[:0], now, now.payload, true
	if !now.isControl() {
		f.inMessage = !now.last
	}
	return true, nil
}

// payload takes the next bytes of the frame under way.
func (f *frames) payload(piece []byte) (found bool) {
	if len(piece) == 0 {
		return false
	}
	start := len(f.queue)
	f.queue = append(f.queue, piece...)
	f.waits = append(f.waits, span{start, len(f.queue)})
	if f.frame.isControl() {
		f.control = append(f.control, piece...)
		return false
	}
	out, found := f.payloads.scan(piece, Inside)
	f.through(out)
	return found
}

// finish ends the frame under way: its message may be all there is for long.
func (f *frames) finish() (found bool) {
	f.inPayload = false
	if f.frame.isControl() {
		return f.finishControl()
	}
	if f.frame.last {
		var out []byte
		out, found = f.payloads.scan(nil, Pause)
		f.through(out)
	}
	return found
}

// finishControl looks at a payload that is whole now, at the queue's end.
func (f *frames) finishControl() (found bool) {
	if len(f.control) == 0 {
		return false
	}
	whole := stream{needles: f.payloads.needles}
	out, found := whole.scan(f.control, End)
	start := len(f.queue) - len(out)
	copy(f.queue[start:], out)
	for last := len(f.waits) - 1; last >= 0 && f.waits[last].start >= start; last-- {
		f.waits = f.waits[:last]
	}
	f.control = f.control[:0]
	return found
}

// through puts payload that may be passed on where it waits.
func (f *frames) through(payload []byte) {
	for len(payload) > 0 {
		first := &f.waits[0]
		n := copy(f.queue[first.start:first.end], payload)
		payload = payload[n:]
		if first.start += n; first.start == first.end {
			f.waits = f.waits[:copy(f.waits, f.waits[1:])]
		}
	}
}

func (f *frames) end() (out []byte, found bool) {
	f.forget()
	rest, found := f.payloads.scan(nil, End)
	f.through(rest)
	if len(f.control) > 0 { // cut off
		found = f.finishControl() || found
	}
	return f.take(), found
}
