package session

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

const (
	flowLife  = 10 * time.Minute
	maxFlows  = 8    // of one browser at once
	maxTries  = 3    // of one login's answer, while the provider cannot be asked
	maxReturn = 1500 // bytes of a path to come back to; a cookie has 4096

	clocksApart = time.Minute // that of another node, which a login began on, from ours
)

// flow is a login under way. It lives in a sealed cookie of the browser that
// began it, one for each, so that two tabs do not take each other's.
type flow struct {
	Issuer   string    `json:"issuer"`
	Host     string    `json:"host"`
	Return   string    `json:"return"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Began    time.Time `json:"began"`

	Demand authn.Demand `json:"demand,omitzero"`
}

// random is 256 bits for state, nonce and verifier.
func random() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// flowCookie is the name of the cookie of a login with this state. The name does
// not tell the state.
func flowCookie(state string) string {
	sum := sha256.Sum256([]byte(state))
	return flowPrefix + hex.EncodeToString(sum[:8])
}

// remember puts a flow into the browser, and the eldest out if there are many.
func (m *Manager) remember(w http.ResponseWriter, r *http.Request, state string, f flow) error {
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false) // a query may be all "&", and a cookie has 4096 bytes
	if err := e.Encode(f); err != nil {
		return err
	}
	var names []string
	for _, c := range cookies(r.Header["Cookie"]) {
		if strings.HasPrefix(c.name, flowPrefix) && validName(c.name) {
			names = append(names, c.name)
		}
	}
	// Browsers send what was set first first, where paths are equal (RFC 6265
	// section 5.4).
	for ; len(names) >= maxFlows; names = names[1:] {
		setCookie(w, names[0], "", 0)
	}
	sealed := m.keys.seal(ofFlow, []byte(state), plain.Bytes())
	setCookie(w, flowCookie(state), base64.RawURLEncoding.EncodeToString(sealed), flowLife)
	return nil
}

func validName(name string) bool {
	_, err := hex.DecodeString(strings.TrimPrefix(name, flowPrefix))
	return err == nil
}

// recall takes a flow out of the browser that it was put into.
func (m *Manager) recall(r *http.Request, state string) (flow, bool) {
	value, ok := cookieNamed(r.Header["Cookie"], flowCookie(state))
	if !ok {
		return flow{}, false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return flow{}, false
	}
	plain, err := m.keys.open(ofFlow, []byte(state), sealed)
	if err != nil {
		return flow{}, false
	}
	var f flow
	if json.Unmarshal(plain, &f) != nil {
		return flow{}, false
	}
	age := m.now().Sub(f.Began)
	return f, age > -clocksApart && age < flowLife
}

// ends is when no node takes the flow any more, whatever its clock.
func (f flow) ends() time.Time { return f.Began.Add(flowLife + clocksApart) }

func (f flow) secrets(state string) authn.Secrets {
	return authn.Secrets{State: state, Nonce: f.Nonce, Verifier: f.Verifier}
}

// returnTo is where a login leads back to: a path of this host, canonical, and
// not one of ours. Anything else is /, because a redirect that others choose is
// how people are led astray with our name in the address bar.
func returnTo(raw string) string {
	path, query, _ := strings.Cut(raw, "?")
	if len(raw) > maxReturn || !strings.HasPrefix(raw, "/") || !plainPath(path) {
		return "/"
	}
	for _, s := range []string{path, query} {
		for i := range len(s) {
			if s[i] <= 0x20 || s[i] >= 0x7f || strings.IndexByte("\\#\"<>", s[i]) >= 0 {
				return "/"
			}
		}
	}
	if u, err := url.Parse(raw); err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	return raw
}

// plainPath refuses empty and dot segments and our own pages, and what is one once
// decoded.
func plainPath(path string) bool {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return false
	}
	for i := range len(plain) {
		if plain[i] < 0x20 || plain[i] == 0x7f || plain[i] == '\\' {
			return false
		}
	}
	if strings.Count(plain, "/") != strings.Count(path, "/") || strings.Contains(plain, "//") || plain == reserved || strings.HasPrefix(plain, reserved+"/") {
		return false
	}
	return !slices.ContainsFunc(strings.Split(plain, "/"), func(s string) bool { return s == "." || s == ".." })
}

// round is a login that was made for a path.
type round struct {
	Path string    `json:"p"` // a hash
	At   time.Time `json:"t"`
}

const (
	maxRounds  = 3
	roundsTime = time.Minute
	roundsID   = 16 // random bytes before what is sealed: each has a key of its own
)

// rounds are the logins of this browser in the last minute.
func (m *Manager) rounds(r *http.Request) []round {
	var all []round
	value, _ := cookieNamed(r.Header["Cookie"], roundsCookie)
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(sealed) < roundsID {
		return nil
	}
	plain, err := m.keys.open(ofRounds, sealed[:roundsID], sealed[roundsID:])
	if err != nil || json.Unmarshal(plain, &all) != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(one round) bool { return m.now().Sub(one.At) > roundsTime })
}

// circling says whether logins for this path lead nowhere: cookies may be lost on
// the way back, or sessions refused as soon as they are made.
func (m *Manager) circling(r *http.Request, path string) bool {
	n := 0
	for _, one := range m.rounds(r) {
		if subtle.ConstantTimeCompare([]byte(one.Path), []byte(pathHash(path))) == 1 {
			n++
		}
	}
	return n >= maxRounds
}

// countRound notes that a login was made for this path.
func (m *Manager) countRound(w http.ResponseWriter, r *http.Request, path string) {
	all := append(m.rounds(r), round{pathHash(path), m.now()})
	if len(all) > 16 {
		all = all[len(all)-16:]
	}
	plain, err := json.Marshal(all)
	if err != nil { // unreachable: strings and times
		return
	}
	var id [roundsID]byte
	rand.Read(id[:])
	sealed := append(id[:], m.keys.seal(ofRounds, id[:], plain)...)
	setCookie(w, roundsCookie, base64.RawURLEncoding.EncodeToString(sealed), roundsTime)
}

func pathHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:4])
}
