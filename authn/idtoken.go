package authn

import (
	"cmp"
	"context"
	"crypto"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/go-json-experiment/json/jsontext"
)

// Tokens are what a login gave: who it is, and what to go on with. The tokens
// themselves are behind funcs, so that nothing prints them.
type Tokens struct {
	Identity  Identity
	SessionID string    // sid: the provider's name of its own session; may be empty
	Nonce     string    // of the login, for later ID tokens to repeat
	Until     time.Time // what the provider vouches for ends here, unless refreshed

	ID      func() string
	Refresh func() string // gives "" when there is none
}

// expected is what an ID token has to agree with.
type expected struct {
	login   bool   // the first of a login
	nonce   string // of the login
	code    string
	subject string  // of the login; empty when there is none yet
	last    *Tokens // before a refresh
}

// tokens judges a token endpoint's answer.
func (c *Client) tokens(ctx context.Context, e *endpoints, answer *oauth2.Token, want expected) (Tokens, error) {
	if !strings.EqualFold(answer.TokenType, "Bearer") {
		return Tokens{}, refuse(Invalid, "token_type is not Bearer")
	}
	raw, present := answer.Extra("id_token").(string)
	refresh := answer.RefreshToken
	t := Tokens{Nonce: want.nonce, Refresh: func() string { return refresh }}
	var claims object
	var err error
	switch {
	case present:
		if claims, err = c.issuer.idToken(ctx, raw, answer.AccessToken, want, c.now); err != nil {
			return Tokens{}, err
		}
	case want.login:
		return Tokens{}, refuse(Invalid, "the token endpoint's answer has no id_token")
	default: // OpenID Connect Core section 12.2: a refresh may leave it out
		raw = want.last.ID()
		if claims, err = c.issuer.seen(raw); err != nil {
			return Tokens{}, err
		}
	}
	t.ID = func() string { return raw }
	if claims, err = c.complete(ctx, e, answer.AccessToken, claims); err != nil {
		return Tokens{}, err
	}
	id, err := c.issuer.identify(claims)
	if err != nil {
		return Tokens{}, err
	}
	t.Identity, t.Until = *id, id.Expires
	if t.SessionID, _ = claims.text("sid"); t.SessionID == "" && want.last != nil {
		t.SessionID = want.last.SessionID
	}
	if end := answer.Expiry; !end.IsZero() {
		// Not for longer than tokens of this issuer are ever believed.
		if most := c.now().Add(c.issuer.maxLifetime); end.After(most) {
			end = most
		}
		if end.After(t.Until) {
			t.Until = end
		}
	}
	t.Identity.Method = "session"
	if want.last != nil { // nobody signs in by a refresh (OpenID Connect Core section 12.2)
		t.Identity.AuthTime = want.last.Identity.AuthTime
		t.Identity.ACR = cmp.Or(t.Identity.ACR, want.last.Identity.ACR)
	}
	return t, nil
}

// idToken verifies and judges an ID token: OpenID Connect Core sections 3.1.3.7
// and 12.2.
func (i *issuer) idToken(ctx context.Context, raw, access string, want expected, now func() time.Time) (object, error) {
	t, claims, err := i.own(ctx, raw)
	if err != nil {
		return nil, err
	}
	if slices.Contains(neverTypes, t.typ) || t.typ != "" && t.typ != "jwt" || claims.has("events") {
		return nil, refuse(Invalid, "typ or claims of something else than an ID token")
	}
	sub, ok := claims.text("sub")
	if !ok || !printable(sub) {
		return nil, refuse(Invalid, "sub is missing, empty, too long or not printable")
	}
	if want.subject != "" && sub != want.subject {
		return nil, refuse(Invalid, "sub is not that of the login")
	}
	if err := i.audienceOf(claims); err != nil {
		return nil, err
	}
	nonce, there := claims.text("nonce")
	if (want.login || claims.has("nonce")) && (!there || subtle.ConstantTimeCompare([]byte(nonce), []byte(want.nonce)) != 1) {
		return nil, refuse(Invalid, "nonce is not that of the login")
	}
	for claim, of := range map[string]string{"at_hash": access, "c_hash": want.code} {
		if claims.has(claim) && of != "" && !hashes(claims, claim, of, t.alg) {
			return nil, refuse(Invalid, claim+" is of something else")
		}
	}
	if claims.has("cnf") {
		return nil, refuse(Invalid, "sender-constrained token (cnf) without proof")
	}
	return claims, i.times(claims, now())
}

// seen reads an ID token that was verified before, and may have expired since.
func (i *issuer) seen(raw string) (object, error) {
	t, err := parse(raw)
	if err != nil {
		return nil, err
	}
	claims, err := i.top.object(t.payload)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	return claims, nil
}

// own verifies that a token is this issuer's.
func (i *issuer) own(ctx context.Context, raw string) (jws, object, error) {
	t, err := parse(raw)
	if err != nil {
		return jws{}, nil, err
	}
	if _, err := i.verify(ctx, t); err != nil {
		return jws{}, nil, err
	}
	claims, err := i.top.object(t.payload)
	if err != nil {
		return jws{}, nil, &Error{Reason: Invalid, Err: err}
	}
	if iss, _ := claims.text("iss"); iss != i.url {
		return jws{}, nil, refuse(Invalid, "iss is not the issuer that was asked")
	}
	return t, claims, nil
}

// audienceOf wants the token to be for this client, and for nobody else but the
// gateway's own audience: another client could present it here (OpenID Connect
// Core section 3.1.3.7, 3 to 5).
func (i *issuer) audienceOf(claims object) error {
	aud := audiences(claims)
	if !slices.Contains(aud, i.login.ClientID) {
		return refuse(Invalid, "aud does not contain the client_id")
	}
	for _, other := range aud {
		if other != i.login.ClientID && other != i.audience {
			return refuse(Invalid, "aud has audiences that are not ours")
		}
	}
	azp, ok := claims.optional("azp")
	if !ok || azp != "" && azp != i.login.ClientID {
		return refuse(Invalid, "azp is another client")
	}
	if len(aud) > 1 && azp == "" {
		return refuse(Invalid, "several aud and no azp")
	}
	return nil
}

// hashes says whether a claim is the left half of the hash of a value, by the
// hash of the token's alg (OpenID Connect Core section 3.1.3.6).
func hashes(claims object, claim, of, alg string) bool {
	have, ok := claims.text(claim)
	h := crypto.SHA256
	switch {
	case strings.HasSuffix(alg, "384"):
		h = crypto.SHA384
	case strings.HasSuffix(alg, "512"), alg == "EdDSA": // Ed25519 hashes with SHA-512
		h = crypto.SHA512
	}
	sum := h.New()
	sum.Write([]byte(of))
	full := sum.Sum(nil)
	want := base64.RawURLEncoding.EncodeToString(full[:len(full)/2])
	return ok && subtle.ConstantTimeCompare([]byte(have), []byte(want)) == 1
}

// complete adds the userinfo endpoint's claims that the ID token leaves out,
// where the operator says so. Its sub must be the ID token's: it may be
// somebody else's answer (OpenID Connect Core section 5.3.2).
func (c *Client) complete(ctx context.Context, e *endpoints, access string, claims object) (object, error) {
	if !c.issuer.login.Userinfo {
		return claims, nil
	}
	if e.userinfo == nil {
		return nil, refuse(Unavailable, "the issuer names no userinfo_endpoint")
	}
	document, err := c.issuer.provider.getAs(ctx, e.userinfo, maxDiscovery, access)
	if err != nil {
		return nil, &Error{Reason: Unavailable, Err: errors.New("userinfo: " + err.Error())}
	}
	more, err := c.issuer.top.object(document)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: errors.New("userinfo: " + err.Error())}
	}
	sub, _ := claims.text("sub")
	if other, ok := more.text("sub"); !ok || other != sub {
		return nil, refuse(Invalid, "sub of userinfo is not that of the ID token")
	}
	all := maps.Clone(more)
	maps.DeleteFunc(all, func(name string, _ jsontext.Value) bool { return protocol[name] })
	maps.Copy(all, claims)
	return all, nil
}

// protocol are the claims that only an ID token may state; email_verified is
// about the email beside it.
var protocol = func() map[string]bool {
	p := namesOf(registered...).exact
	delete(p, "email_verified")
	return p
}()
