package authn

import "time"

// Kind says what sort of caller an Identity is. The operator states it, per
// issuer or by a claim rule; no token can choose it freely.
type Kind string

// The kinds of callers.
const (
	Human    Kind = "human"
	Workload Kind = "workload"
	Agent    Kind = "agent"
)

// Identity is a caller an issuer vouched for. Issuer and Subject together are
// the identity: the same subject at two issuers is two callers. An Identity
// holds no token and nothing a caller could replay. Its lists and map are shared
// by the requests of one token: do not change them.
type Identity struct {
	Issuer   string    // the issuer's name in the configuration, not its URL
	Subject  string    // sub
	Kind     Kind      //
	Email    string    // only if the issuer says email_verified is not false
	ClientID string    // azp, else client_id; may be empty
	Groups   []string  //
	Roles    []string  // the token's own roles claim: never by itself a vaultspan role
	Actors   []string  // RFC 8693 section 4.1 act chain, the current actor first
	Expires  time.Time // exp: nothing this Identity started may outlive it; at most clock_skew ago
	Method   string    // how it was proven: "bearer", or "session"
	AuthTime time.Time // auth_time: when the caller proved it to the issuer; zero when that is not said
	ACR      string    // acr: how well; empty when that is not said

	// Claims holds the claims that members or claims.expose name, keyed by the
	// path as written ("realm_access.roles"), each as a list of strings: a
	// string, number or bool is a list of one. Absent claims have no key.
	Claims map[string][]string
}
