package authn

import (
	"context"
	"slices"
	"time"
)

// logoutEvent is the one member that events of a logout token must have.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutAge is how old a logout token may be.
const logoutAge = 2 * time.Minute

// Logout is what an issuer says in a logout token: end the session SessionID,
// or all those of Subject.
type Logout struct {
	Issuer    string // its name in the configuration
	Subject   string // may be empty, if SessionID is not
	SessionID string // may be empty, if Subject is not
	ID        string // jti: each is good once
	Until     time.Time
}

// Logout verifies a logout token of any issuer that people log in at: OpenID
// Connect Back-Channel Logout 1.0 section 2.6. The error is an *Error.
func (a *Authenticator) Logout(ctx context.Context, token string) (Logout, error) {
	l, i, err := a.logout(ctx, token)
	if err != nil {
		refusal := a.refused(i, err).(*Error)
		refusal.what = "logout token"
		return Logout{}, refusal
	}
	return l, nil
}

func (a *Authenticator) logout(ctx context.Context, token string) (Logout, *issuer, error) {
	t, err := parse(token)
	if err != nil {
		return Logout{}, nil, err
	}
	_, i, err := a.pick(t)
	if err != nil {
		return Logout{}, nil, err
	}
	if i.login.ClientID == "" {
		return Logout{}, i, refuse(Invalid, "nobody logs in at this issuer")
	}
	t, claims, err := i.own(ctx, token)
	if err != nil {
		return Logout{}, i, err
	}
	l, err := i.judgeLogout(t, claims, a.now())
	return l, i, err
}

func (i *issuer) judgeLogout(t jws, claims object, now time.Time) (Logout, error) {
	if !slices.Contains(i.logoutTypes, t.typ) {
		return Logout{}, refuse(Invalid, "typ is not that of a logout token")
	}
	events, err := namesOf(logoutEvent).object(claims["events"])
	if err != nil || events[logoutEvent].Kind() != '{' {
		return Logout{}, refuse(Invalid, "events is not that of a logout token")
	}
	if claims.has("nonce") { // an ID token must not pass for one
		return Logout{}, refuse(Invalid, "a logout token has no nonce")
	}
	if !slices.Contains(audiences(claims), i.login.ClientID) {
		return Logout{}, refuse(Invalid, "aud does not contain the client_id")
	}
	iat, ok := claims.date("iat")
	if !ok || iat.After(now.Add(i.skew)) || iat.Before(now.Add(-logoutAge-i.skew)) {
		return Logout{}, refuse(Invalid, "iat is missing, in the future or more than two minutes ago")
	}
	exp, ok := claims.date("exp")
	if !ok || !now.Before(exp.Add(i.skew)) {
		return Logout{}, refuse(Invalid, "exp is missing or past")
	}
	l := Logout{Issuer: i.name, Until: iat.Add(logoutAge + 2*i.skew)}
	var sub, sid, jti bool
	l.Subject, sub = claims.optional("sub")
	l.SessionID, sid = claims.optional("sid")
	l.ID, jti = claims.optional("jti")
	if !sub || !sid || l.Subject == "" && l.SessionID == "" {
		return Logout{}, refuse(Invalid, "neither sub nor sid says whose session ends")
	}
	if !jti || l.ID == "" {
		return Logout{}, refuse(Invalid, "jti is missing")
	}
	return l, nil
}
