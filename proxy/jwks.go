package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const jwksPath = reserved + "/jwks.json"

// jwks publishes the keys that assertions are verified with. They are no secret:
// whoever asks is told, over whatever listener.
func (x *exchange) jwks() *refused {
	if refused := x.reads(); refused != nil {
		return refused
	}
	set, age, err := x.settings.Assertions.Keys()
	if err != nil {
		return internalError.from(err)
	}
	return x.tell("application/jwk-set+json", fmt.Sprintf("public, max-age=%d", age/time.Second), set)
}

// reads refuses everything but GET and HEAD.
func (x *exchange) reads() *refused {
	if x.in.Method != http.MethodGet && x.in.Method != http.MethodHead {
		return &refused{Refusal: methodNotAllowed, allow: []string{http.MethodGet, http.MethodHead}}
	}
	return nil
}

// tell answers with a document of our own.
func (x *exchange) tell(kind, caching string, body []byte) *refused {
	body = append(body[:len(body):len(body)], '\n')
	h := x.out.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", caching)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.out.WriteHeader(http.StatusOK)
	if x.in.Method != http.MethodHead {
		x.out.Write(body)
	}
	return answered
}
