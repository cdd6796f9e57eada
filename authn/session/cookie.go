package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The names of our cookies. With __Host- a browser takes them only over TLS (or
// from loopback), for this very host and for all of its paths, so that no
// sibling domain can plant one.
const (
	cookieName   = "__Host-vaultspan"
	flowPrefix   = cookieName + "-login-"
	roundsCookie = cookieName + "-rounds"
)

// idSize is how random a session's id is.
const idSize = 32

// newID makes what a cookie holds.
func newID() (value string, key Key) {
	var id [idSize]byte
	rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:]), sha256.Sum256(id[:])
}

// parseID reads what newID made, in its one spelling.
func parseID(value string) (Key, bool) {
	if len(value) != base64.RawURLEncoding.EncodedLen(idSize) {
		return Key{}, false
	}
	id, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(id) != idSize {
		return Key{}, false
	}
	return sha256.Sum256(id), true
}

// pair is one cookie of a request.
type pair struct{ name, value string }

// cookies reads Cookie fields. net/http's reading drops and repairs what it
// finds odd; here a name is what stands before the first =, and nothing is
// decoded.
func cookies(fields []string) []pair {
	var all []pair
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ";") {
			name, value, _ := strings.Cut(strings.Trim(part, " \t"), "=")
			all = append(all, pair{name, value})
		}
	}
	return all
}

// sessionCookie is the session cookie's value. Two of them are one too many:
// somebody may have planted the other, and we cannot tell which.
func sessionCookie(fields []string) (value string, present, ambiguous bool) {
	for _, c := range cookies(fields) {
		if !strings.EqualFold(c.name, cookieName) {
			continue
		}
		if present {
			return "", true, true
		}
		value, present = c.value, true
	}
	return value, present, false
}

// sessionKey is the key of a request's one session cookie, if it has one and it is
// whole.
func sessionKey(r *http.Request) (Key, bool) {
	value, _, _ := sessionCookie(r.Header["Cookie"])
	return parseID(value)
}

// cookieNamed is the value of another of our cookies, if it is there once.
func cookieNamed(fields []string, name string) (string, bool) {
	all := cookies(fields)
	all = slices.DeleteFunc(all, func(c pair) bool { return c.name != name })
	if len(all) != 1 {
		return "", false
	}
	return all[0].value, true
}

// setCookie sets one of our cookies, or takes it away when life is 0. A life
// below 0 is the browser's session.
func setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	c := &http.Cookie{
		Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	switch {
	case life == 0:
		c.MaxAge = -1
	case life > 0:
		c.MaxAge = int(life / time.Second)
	}
	http.SetCookie(w, c)
}
