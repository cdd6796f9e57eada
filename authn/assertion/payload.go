package assertion

import "time"

// payload is what is signed. Names are those registered for JWTs where there is
// one: sub_id by RFC 9493 section 4.1, act by RFC 8693 section 4.1, groups and
// roles by RFC 9068 section 2.2.3.1.
type payload struct {
	Issuer        string    `json:"iss"`
	Audience      string    `json:"aud"`
	Subject       string    `json:"sub"`
	SubjectID     subjectID `json:"sub_id"`
	Kind          string    `json:"kind"`
	Email         string    `json:"email,omitempty"`
	Groups        []string  `json:"groups,omitzero"` // nil: see GroupsOmitted
	GroupsOmitted bool      `json:"groups_omitted,omitempty"`
	Roles         []string  `json:"roles"`
	Actor         *actor    `json:"act,omitempty"`
	ID            string    `json:"jti"`
	IssuedAt      int64     `json:"iat"`
	NotBefore     int64     `json:"nbf"`
	Expires       int64     `json:"exp"`
}

// subjectID is the caller as its issuer knows it (RFC 9493 section 3.2.3).
type subjectID struct {
	Format  string `json:"format"`
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

// actor is who acts for the subject, and for whom that one acts.
type actor struct {
	Subject string `json:"sub"`
	Actor   *actor `json:"act,omitempty"`
}

// payload translates claims, at a moment.
func (s *Signer) payload(c Claims, now time.Time) payload {
	p := payload{
		Issuer: s.gateway, Audience: c.Route, Subject: Subject(c.Issuer, c.Subject),
		SubjectID: subjectID{"iss_sub", s.issuers[c.Issuer], c.Subject},
		Kind:      c.Kind, Email: c.Email, Groups: c.Groups, Roles: c.Roles, ID: c.Request,
		IssuedAt: now.Unix(), NotBefore: now.Add(-past).Unix(), Expires: s.expires(c, now).Unix(),
	}
	if p.Groups == nil {
		p.Groups = []string{} // it has none, and says so
	}
	if p.Roles == nil {
		p.Roles = []string{}
	}
	for i := len(c.Actors) - 1; i >= 0; i-- {
		p.Actor = &actor{Subject(c.Issuer, c.Actors[i]), p.Actor}
	}
	return p
}

// Subject is how a caller is called at the gateway. No issuer's name has a colon,
// where callers are told to upstreams.
func Subject(issuer, subject string) string { return issuer + ":" + subject }

// expires is when an assertion ends: with its lifetime or with what the issuer
// vouched for, whichever is first. A caller that was let in although that has
// passed, for clocks differ, is vouched for a little longer.
func (s *Signer) expires(c Claims, now time.Time) time.Time {
	left := c.Expires.Sub(now)
	if left <= 0 {
		left = grace
	}
	return now.Add(min(left, s.lifetime))
}
