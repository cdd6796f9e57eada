package upstream

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
)

// Release lets go of every request that is held at this moment.
func (u *Upstream) Release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.released)
	u.released = make(chan struct{})
}

// hold streams until it is released.
func hold(w http.ResponseWriter, r *http.Request, released <-chan struct{}) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: first\n\n")
	http.NewResponseController(w).Flush()
	select {
	case <-released:
		fmt.Fprint(w, "data: last\n\n")
	case <-r.Context().Done():
	}
}

// echo accepts a WebSocket (RFC 6455 section 4.2.2) and sends back what comes,
// unread, as the payloads of text messages: frames are what the gateway watches.
func echo(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		frame := make([]byte, 2+125)
		n, err := rw.Read(frame[2:])
		if n > 0 {
			frame[0], frame[1] = 0x81, byte(n)
			if _, err := conn.Write(frame[:2+n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
