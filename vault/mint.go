package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	mintWait   = 10 * time.Second // what minting a token may take
	mintPause  = time.Second      // after a first failure; doubled by each other
	mintRest   = 30 * time.Second // the longest pause
	tokenYouth = 10 * time.Second // a younger token is not replaced because it was refused
	tokenEarly = time.Minute      // a token is renewed so long before its end, or a tenth of its life
	tokenLife  = time.Hour        // of a token that does not say
)

// MaxTokenAnswer bounds what a token endpoint may answer.
const MaxTokenAnswer = 64 << 10

// Exchange sends one request to a lease's TokenEndpoint, and returns what name
// its record has. The Vault opens no connection itself: whoever leads the
// exchange records it, checks where it goes, and bounds it.
type Exchange func(r *http.Request) (res *http.Response, attempt string, err error)

// ErrNotSent is wrapped by the error of an Exchange that sent nothing: that
// says nothing of the token endpoint, so it is asked again at once.
var ErrNotSent = errors.New("the token endpoint was not asked")

// mint makes tokens of one version of a secret, and keeps the newest. It
// outlives the view, for the bindings that exchange the secret alike share it.
type mint struct {
	endpoint Destination
	grant    func(context.Context, *http.Client) (granted, error)
	values   func() []string // of the secret
	log      *slog.Logger
	now      func() time.Time

	mu       sync.Mutex
	newest   *token
	flight   *flight // under way; one at a time
	failure  error   // of the last flight; nil: it landed
	failures int     // in a row
	retry    time.Time
}

// mintKey is what a mint is shared by.
type mintKey struct{ id, version, shape string }

// shapeOf tells the configurations of a kind apart.
func shapeOf(kind string, config any) string {
	text, err := json.Marshal(config, json.Deterministic(true))
	if err != nil { // unreachable: text, numbers and lists of them
		panic(err)
	}
	return kind + string(text)
}

// token is one minted token. It never changes; its funcs hide the value.
type token struct {
	put         func(*http.Request) error
	reveal      func() string
	guard       *Guard
	attempt     string // that minted it
	asked       time.Time
	life, young time.Duration // from asked: until it ends, until it is renewed
}

// flight is one minting that others wait for.
type flight struct {
	done  chan struct{} // closed when it is over
	token *token
	err   error
}

// granted is what a kind made of an answer.
type granted struct {
	put     func(*http.Request) error
	reveal  func() string
	life    time.Duration // 0: the answer does not say
	rotated bool          // the next minting needs what only this answer said
}

// mintError says why a token endpoint minted nothing, in our words: what it
// said may quote what it was sent.
type mintError struct {
	reason LeaseReason // NoCredential: an operator must act; NoToken: it may pass
	err    error
}

func (e *mintError) Error() string { return e.err.Error() }
func (e *mintError) Unwrap() error { return e.err }

// get returns a token that is good for a while. One minting is under way at
// most: who comes meanwhile uses the token there is, or waits. refused is a
// token that the upstream refused, or nil.
func (m *mint) get(ctx context.Context, refused *token, send Exchange) (*token, error) {
	m.mu.Lock()
	now := m.now()
	t := m.newest
	if t != nil && t == refused && elapsed(t.asked, now) < tokenYouth {
		m.mu.Unlock()
		return nil, ErrUnchanged
	}
	if t == refused || t != nil && elapsed(t.asked, now) >= t.life {
		t = nil
	}
	if t != nil && elapsed(t.asked, now) < t.young {
		m.mu.Unlock()
		return t, nil
	}
	f, waits := m.flight, m.failure
	if f == nil && (waits == nil || !now.Before(m.retry)) {
		f = &flight{done: make(chan struct{}), err: errPanicked}
		m.flight = f
		m.mu.Unlock()
		m.fly(ctx, f, send)
		if f.err != nil && t != nil {
			m.log.WarnContext(ctx, "a token could not be renewed before its end: it is used until then", "endpoint", m.endpoint.String(), "error", f.err.Error())
			return t, nil
		}
		return f.token, f.err
	}
	m.mu.Unlock()
	switch {
	case t != nil:
		return t, nil
	case f == nil:
		return nil, fmt.Errorf("%w (not asked again yet)", waits)
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return nil, &mintError{NoToken, ctx.Err()}
	}
}

var errPanicked = &mintError{NoToken, errors.New("minting broke off")}

// fly asks for a token and lets those know who wait, whatever happens.
func (m *mint) fly(ctx context.Context, f *flight, send Exchange) {
	var asked time.Duration // the pause that the endpoint asked for
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.flight = nil
		switch {
		case f.err == nil:
			m.newest, m.failure, m.failures = f.token, nil, 0
		case !errors.Is(f.err, ErrNotSent):
			m.failure = f.err
			m.retry = m.now().Add(max(min(mintPause<<min(m.failures, 10), mintRest), asked))
			m.failures++
		}
		close(f.done)
	}()
	// Others wait for it, so it does not end with the one who began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mintWait)
	defer cancel()
	way := &tokenTransport{endpoint: m.endpoint, send: send}
	began := m.now()
	g, err := m.grant(ctx, &http.Client{
		Transport:     way,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	asked = way.pause
	if err != nil {
		f.err = m.failed(err)
		return
	}
	if g.rotated {
		m.log.WarnContext(ctx, "the authorization server rotates refresh tokens: the newest is in memory only, and the stored one may not be taken after a restart",
			"endpoint", m.endpoint.String())
	}
	if len(g.reveal()) < guardFrom {
		f.err = m.failed(&mintError{NoCredential, errors.New("the token is shorter than 12 bytes: too short to be found in what the upstream answers")})
		return
	}
	guard, err := newGuard(append(m.values(), g.reveal())...)
	if err != nil { // unreachable: one of them is long enough
		f.err = m.failed(err)
		return
	}
	life := g.life
	if life == 0 {
		life = tokenLife
	}
	f.token = &token{
		put: g.put, reveal: g.reveal, guard: guard, attempt: way.attempt,
		asked: began, life: life, young: life - min(life/10, tokenEarly),
	}
	f.err = nil
}

// failed is an error without what net/http and others quote: URLs and bodies.
func (m *mint) failed(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*mintError](err); ok {
		return &mintError{e.reason, fmt.Errorf("token endpoint %s: %w", m.endpoint, e.err)}
	}
	return &mintError{NoToken, fmt.Errorf("token endpoint %s: answered with nothing that is a token", m.endpoint)}
}

// isPassing says whether a status may be another one soon.
func isPassing(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusTooEarly
}

// tokenTransport is one request to a token endpoint, through an Exchange.
type tokenTransport struct {
	endpoint Destination
	send     Exchange
	sent     bool
	attempt  string
	pause    time.Duration // that the endpoint asks for
}

// RoundTrip implements http.RoundTripper, once. The answer is whole, bounded,
// and a strict JSON object where it is to hold a token.
func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.sent || !t.endpoint.Allows(r.URL) {
		return nil, &mintError{NoCredential, errors.New("the secret would go elsewhere, or twice")}
	}
	t.sent = true
	r = r.Clone(r.Context())
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	r.Header.Set("User-Agent", "vaultspan")
	res, attempt, err := t.send(r)
	t.attempt = attempt
	if err != nil {
		return nil, &mintError{NoToken, err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxTokenAnswer+1))
	switch {
	case err != nil:
		return nil, &mintError{NoToken, errors.New("the answer broke off")}
	case len(body) > MaxTokenAnswer:
		return nil, &mintError{NoToken, errors.New("the answer is larger than 64 KiB")}
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		t.pause = time.Duration(min(seconds, int(mintRest/time.Second))) * time.Second
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode < 300 && (media != "application/json" || !strings.HasPrefix(string(bytes.TrimLeft(body, " \t\r\n")), "{") || !jsontext.Value(body).IsValid()) {
		return nil, &mintError{NoToken, fmt.Errorf("answered %d with what is not a strict JSON object", res.StatusCode)}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}
