package proxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// block is the word of a route's guard; any other is mask.
const block = "block"

// Where a credential came back, and what was done about it: these words are in
// records, and by the second a metric counts.
const (
	inStatus        = "status"
	inHeader        = "header"
	inTrailer       = "trailer"
	inInformational = "informational"
	inBody          = "body"
	inFrame         = "frame"

	wasMasked  = "masked"
	wasBlocked = "blocked"
	wasCut     = "cut"
)

// errReflected ends an attempt on a route that blocks.
var errReflected = errors.New("the upstream sent the credential back")

// watch looks for the credential of an exchange in everything that its upstream
// answers. On a route without a guard it looks at nothing.
type watch struct {
	x       *exchange
	cancel  context.CancelCauseFunc // of the exchange
	attempt *attempt                // the last
	guard   *vault.Guard            // of all versions that were sent

	mu     sync.Mutex
	passed bool     // the response's header has been passed on
	seen   []string // where, and what was done, each once
}

// begin looks for what an attempt is about to send, too: nothing is sent before.
func (w *watch) begin(a *attempt) {
	w.attempt, w.seen = a, nil
	if a.lease != nil {
		w.guard = w.guard.With(a.lease.Guard())
	}
}

// blocks says whether an echo ends the attempt. On a route that masks it does
// not: the bytes are gone, and the caller has the rest.
func (w *watch) blocks() bool { return w.x.route.Guard == block }

// saw tells everybody who has to know that the credential came back, once for
// each place, and returns an error if that is the end of the attempt.
func (w *watch) saw(where string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	result := wasMasked
	if w.blocks() && where != inInformational {
		err, result = errReflected, wasBlocked
		if w.passed {
			result = wasCut
			w.cancel(cut{secretReflected})
		}
	}
	if what := where + " " + result; !slices.Contains(w.seen, what) {
		w.seen = append(w.seen, what)
		w.attempt.span.SetAttributes(attr.SecretReflected.StringSlice(w.seen))
		w.x.meters().reflected(w.x, result)
		w.x.gateway.Logger.ErrorContext(w.x.ctx, "the upstream sent the credential back",
			"route", w.x.route.Name, "where", where, "result", result, "secret", w.attempt.lease.Secret(), "version", w.attempt.lease.Version())
	}
	return err
}

// outcome is how an attempt ended, given how it would have, and the detail. Of an
// attempt that nothing of is passed on, it is as given.
func (w *watch) outcome(a *attempt, code string) (_, detail string) {
	if w == nil || w.attempt != a {
		return code, ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		return code, ""
	}
	detail = strings.Join(w.seen, ", ")
	if code != completed && code != secretReflected.Code {
		detail += "; " + code
	}
	return secretReflected.Code, detail
}

// request copies what may leave for the upstream, without what would let it
// answer in a way that cannot be looked through: in parts, or in an encoding.
func (w *watch) request(in http.Header) http.Header {
	guarded := w.x.lease != nil && w.x.lease.Guard() != nil
	out := w.x.route.headers.outbound(in, guarded)
	if guarded {
		out.Set("Accept-Encoding", "identity")
	}
	return out
}

// notOffered names the fields, folded, that are not passed on with a credential
// that is watched: a range could be asked for in pieces shorter than it, and an
// encoding or extension could not be read.
var notOffered = []string{"range", "request-range", "if-range", "accept-encoding", "sec-websocket-extensions"}

func isNotOffered(name string) bool {
	return slices.ContainsFunc(notOffered, func(other string) bool { return len(other) == len(name) && fold(name) == other })
}

// fields masks the credential in the values of h, and deletes fields that have it
// in their name.
func (w *watch) fields(h http.Header, where string) error {
	if w.guard == nil {
		return nil
	}
	found := false
	for name, values := range h {
		if w.guard.Name(name) {
			delete(h, name)
			found = true
			continue
		}
		for i, value := range values {
			if masked, hit := w.guard.Text(value); hit {
				values[i], found = masked, true
			}
		}
	}
	if found {
		return w.saw(where)
	}
	return nil
}

// informational masks an informational response. It is passed on even on a route
// that blocks: what matters comes after it.
func (w *watch) informational(h http.Header) { _ = w.fields(h, inInformational) }

// response looks at the header of an answer, and sees to it that its body will be
// looked at. An error answers the caller in its stead.
func (w *watch) response(res *http.Response) error {
	if w.guard == nil {
		return nil
	}
	_, found := w.guard.Text(res.Status) // the phrase in it is not passed on anyway
	if found {
		if err := w.saw(inStatus); err != nil {
			return err
		}
	}
	if err := w.fields(res.Header, inHeader); err != nil {
		return err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if len(res.Header["Sec-Websocket-Extensions"]) > 0 {
			return errUpgrade // its frames could not be read
		}
		w.webSocket(res)
	} else if err := w.body(res); err != nil {
		return err
	}
	w.mu.Lock()
	w.passed = true
	w.mu.Unlock()
	return nil
}
