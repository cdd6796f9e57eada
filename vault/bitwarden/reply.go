package bitwarden

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// The SDK only ever reads JSON that this package wrote: a body is parsed into
// one of the types below, strictly (no duplicate members, no invalid UTF-8, no
// trailing data) and written again. A member the SDK does not need is not
// passed on, and what it has been tested with is all it sees.

// tokenReply is what the identity service answers to a login.
type tokenReply struct {
	AccessToken      string `json:"access_token"`
	ExpiresIn        int64  `json:"expires_in"`
	TokenType        string `json:"token_type"`
	Scope            string `json:"scope"`
	EncryptedPayload string `json:"encrypted_payload"`
}

// bearerClaims is what the SDK reads of the bearer token, without verifying it.
type bearerClaims struct {
	Expires      int64    `json:"exp"`
	Subject      string   `json:"sub"`
	Organization string   `json:"organization"`
	Scope        []string `json:"scope"`
}

type projectList struct {
	Data []project `json:"data"`
}

type project struct {
	ID           string `json:"id"`
	Organization string `json:"organizationId"`
	Name         string `json:"name"`
	Created      string `json:"creationDate"`
	Revised      string `json:"revisionDate"`
}

type secretList struct {
	Secrets []secretRow `json:"secrets"`
}

type secretData struct {
	Data []secretRow `json:"data"`
}

type syncReply struct {
	HasChanges *bool       `json:"hasChanges"`
	Secrets    *secretData `json:"secrets,omitzero"`
}

// secretRow is a secret, whose key, value and note are ciphertext. A list has
// neither value nor note.
type secretRow struct {
	ID           string       `json:"id"`
	Organization string       `json:"organizationId"`
	Key          string       `json:"key"`
	Value        string       `json:"value,omitzero"`
	Note         string       `json:"note,omitzero"`
	Created      string       `json:"creationDate"`
	Revised      string       `json:"revisionDate"`
	Projects     []projectRef `json:"projects"`
}

// projectRef is a project of a secret. Its name, a ciphertext too, comes with
// the list of projects.
type projectRef struct {
	ID string `json:"id"`
}

// Errors of an answer with status 200. They quote nothing of it.
var (
	errShape    = errors.New("the answer is not what Secrets Manager says: a web page, a cut-off or a damaged answer, or another server")
	errTooLarge = errors.New("the answer is larger than it may be")
	errAbsent   = errors.New("the secret that was asked for is not in the answer")
	errOtherOrg = errors.New("the access token is for another organization than the configured one")
)

// parse reads body as a T.
func parse[T any](body []byte) (T, error) {
	var reply T
	// A NUL would end a string early on its way back through C. Ciphertext and
	// ids have none, escaped or not.
	if bytes.IndexByte(body, 0) >= 0 || bytes.Contains(body, []byte(`\u0000`)) {
		return reply, errShape
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return reply, errShape
	}
	return reply, nil
}

// rewrite is parse, check, and the JSON for the SDK.
func rewrite[T any](body []byte, check func(T) error) ([]byte, error) {
	reply, err := parse[T](body)
	if err != nil {
		return nil, err
	}
	if err := check(reply); err != nil {
		return nil, err
	}
	return json.Marshal(reply)
}

// maxLifetime bounds expires_in, which the SDK adds to its clock.
const maxLifetime = 24 * 60 * 60

// check refuses a token reply that the SDK could not survive, or should not
// use: a reply without encrypted_payload ends the process. It returns what the
// bearer token says, which nobody has verified.
func (t tokenReply) check(organization string) (bearerClaims, error) {
	var claims bearerClaims
	if t.ExpiresIn < 1 || t.ExpiresIn > maxLifetime || !strings.EqualFold(t.TokenType, "Bearer") || !isEncString(t.EncryptedPayload) {
		return claims, errShape
	}
	parts := strings.Split(t.AccessToken, ".")
	if len(parts) != 3 {
		return claims, errShape
	}
	for i, part := range parts {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return claims, errShape
		}
		if i == 1 {
			if claims, err = parse[bearerClaims](raw); err != nil {
				return claims, errShape
			}
		}
	}
	if claims.Expires < 1 || claims.Subject == "" || len(claims.Scope) == 0 || !isUUID(claims.Organization) {
		return claims, errShape
	}
	if !strings.EqualFold(claims.Organization, organization) {
		return claims, errOtherOrg
	}
	return claims, nil
}

// The checks look at ids only: a damaged ciphertext is one project's or one
// secret's failure, which decrypting finds. But a list must be there, if empty:
// to take {} for one would empty the vault.

func (l projectList) check() error {
	if l.Data == nil {
		return errShape
	}
	return checkEach(l.Data, project.check)
}

func (p project) check() error { return checkIDs(p.ID, p.Organization) }

func (l secretList) check() error {
	if l.Secrets == nil {
		return errShape
	}
	return checkEach(l.Secrets, secretRow.check)
}

func (d secretData) check() error {
	if d.Data == nil {
		return errShape
	}
	return checkEach(d.Data, secretRow.check)
}

func (s syncReply) check() error {
	switch {
	case s.HasChanges == nil, *s.HasChanges && s.Secrets == nil:
		return errShape
	case s.Secrets == nil:
		return nil
	}
	return s.Secrets.check()
}

// rows is the secrets of a sync.
func (s syncReply) rows() []secretRow {
	if s.Secrets == nil {
		return nil
	}
	return s.Secrets.Data
}

func (r secretRow) check() error {
	if err := checkIDs(r.ID, r.Organization); err != nil {
		return err
	}
	return checkEach(r.Projects, func(p projectRef) error { return checkIDs(p.ID) })
}

func checkEach[T any](all []T, check func(T) error) error {
	for _, one := range all {
		if err := check(one); err != nil {
			return err
		}
	}
	return nil
}

func checkIDs(ids ...string) error {
	if !slices.ContainsFunc(ids, func(id string) bool { return !isUUID(id) }) {
		return nil
	}
	return errShape
}

// isEncString reports whether s has the shape of an EncString of type 2:
// 2.iv|ciphertext|mac, each in base64.
func isEncString(s string) bool {
	rest, ok := strings.CutPrefix(s, "2.")
	parts := strings.Split(rest, "|")
	if !ok || len(parts) != 3 {
		return false
	}
	var size [3]int
	for i, part := range parts {
		raw, err := base64.StdEncoding.DecodeString(part)
		if err != nil {
			return false
		}
		size[i] = len(raw)
	}
	return size[0] == 16 && size[1] > 0 && size[1]%16 == 0 && size[2] == 32
}
