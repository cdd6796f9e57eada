package bwemu

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// An Account is a machine account with one of its access tokens: it may read
// some projects of one organization.
type Account struct {
	ClientID string // of the access token: each has another

	id      string // of the machine account
	org     *Organization
	name    string
	secret  string
	seed    [16]byte
	reads   *[]*Project // the same for all tokens of a machine account
	revoked bool
}

// A session is what a bearer token stands for.
type session struct {
	account *Account
	expires time.Time
}

// AddAccount adds a machine account with an access token that reads the
// projects. In a fixed organization the token follows from the names.
func (o *Organization) AddAccount(name string, reads ...*Project) *Account {
	a := &Account{ClientID: newID(), id: newID(), org: o, name: name, secret: rand.Text(), reads: &reads}
	rand.Read(a.seed[:])
	if o.fixed {
		a.id = uuid([16]byte(o.derive("account", name)))
		a.ClientID, a.secret = uuid([16]byte(o.derive("client", name))), hex.EncodeToString(o.derive("secret", name))
		a.seed = [16]byte(o.derive("seed", name))
	}
	o.change(func(time.Time) { o.emulator.accounts[a.ClientID] = a })
	return a
}

// AddToken adds another access token to a machine account. The name is the
// token's, for the admin.
func (a *Account) AddToken(name string) *Account {
	another := &Account{ClientID: newID(), id: a.id, org: a.org, name: name, secret: rand.Text(), reads: a.reads}
	rand.Read(another.seed[:])
	a.org.change(func(time.Time) { a.org.emulator.accounts[another.ClientID] = another })
	return another
}

// AccessToken returns what the account logs in with, as Bitwarden shows it once
// when it is made: a version, the client id and secret, and behind the colon
// the seed, which the server never sees, of the key that opens the
// organization's key.
func (a *Account) AccessToken() string {
	return "0." + a.ClientID + "." + a.secret + ":" + base64.StdEncoding.EncodeToString(a.seed[:])
}

// Reads replaces the projects that the account may read.
func (a *Account) Reads(projects ...*Project) {
	a.org.change(func(time.Time) { *a.reads = projects })
}

// Revoke withdraws the access token and ends its sessions.
func (a *Account) Revoke() {
	a.org.change(func(time.Time) { a.revoked = true })
	a.EndSessions()
}

// Restore undoes Revoke, as no real server would: it stands for an identity
// service that refused by mistake and recovered.
func (a *Account) Restore() { a.org.change(func(time.Time) { a.revoked = false }) }

// EndSessions makes every bearer token of the account worthless. It can log in
// again.
func (a *Account) EndSessions() {
	e := a.org.emulator
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.sessions, func(_ string, s session) bool { return s.account == a })
}

// sees reports whether the account may read s; the emulator's lock is held.
func (a *Account) sees(s *Secret) bool {
	return s.org == a.org && slices.ContainsFunc(s.projects, func(p *Project) bool { return slices.Contains(*a.reads, p) })
}

// login makes a session and the token reply; the emulator's lock is held.
func (a *Account) login() map[string]any {
	e := a.org.emulator
	expires := e.now().Add(e.lifetime)
	claims := map[string]any{
		"iss": "bwemu", "sub": a.id, "client_id": a.ClientID, "organization": a.org.ID,
		"nbf": e.now().Unix(), "exp": expires.Unix(), "scope": []string{"api.secrets"}, "jti": rand.Text(),
	}
	bearer := segment(map[string]any{"alg": "RS256", "typ": "at+jwt"}) + "." + segment(claims) + "." + rand.Text()
	e.sessions[bearer] = session{account: a, expires: expires}
	payload := `{"encryptionKey":"` + base64.StdEncoding.EncodeToString(a.org.key[:]) + `"}`
	return map[string]any{
		"access_token":      bearer,
		"expires_in":        int(e.lifetime.Seconds()),
		"token_type":        "Bearer",
		"scope":             "api.secrets",
		"encrypted_payload": seedKey(a.seed[:]).seal([]byte(payload)),
	}
}

// segment encodes one part of a JWT.
func segment(claims map[string]any) string {
	text, err := json.Marshal(claims)
	if err != nil {
		panic("bwemu: " + err.Error()) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
