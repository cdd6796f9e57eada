package proxy

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/vaultspan/vaultspan/authn"
)

// Refusal is one row of the table of what a caller is told when its request is
// not forwarded. Codes are stable: callers, alerts and the runbook name them.
type Refusal struct {
	Status int
	Code   string
	Title  string // what happened, for the caller
}

// The refusals, by status. This is the only place where a caller's answer is
// worded; what the operator needs to know goes to the span and the log.
var (
	targetNoncanonical   = Refusal{400, "target-noncanonical", "the request target is not in canonical form"}
	authorityMismatch    = Refusal{400, "authority-mismatch", "the Host header is missing, malformed or contradicts the request"}
	ambiguousCredentials = Refusal{400, "ambiguous-credentials", "the request carries more than one credential"}
	malformedToken       = Refusal{400, "malformed-token", "the credential is not a well-formed bearer token"}
	malformedBody        = Refusal{400, "malformed-body", "the request body could not be read to its end"}
	upgradeUnsupported   = Refusal{400, "upgrade-unsupported", "only an upgrade to websocket is supported"}
	parameterReserved    = Refusal{400, "parameter-reserved", "the query has a parameter that is the gateway's to set"}
	payloadUnsignable    = Refusal{400, "payload-unsignable", "the request's body cannot be signed for the upstream as it is"}
	noCredentials        = Refusal{401, "no-credentials", "a bearer token is needed here"}
	tokenExpired         = Refusal{401, "token-expired", "the token has expired"}
	tokenInvalid         = Refusal{401, "token-invalid", "the token was not accepted"}
	issuerUnknown        = Refusal{401, "issuer-unknown", "the token's issuer is not one of ours"}
	sessionRevoked       = Refusal{401, "session-revoked", "the session has ended: sign in again"}
	weakAuthentication   = Refusal{401, "authentication-insufficient", "a more recent or a stronger sign-in is needed here"}
	denied               = Refusal{403, "denied", "policy does not allow this request"}
	secretNotBound       = Refusal{403, "secret-not-bound", "the credential is not bound to this destination"}
	originDenied         = Refusal{403, "origin-denied", "this web origin may not do that here"}
	tlsRequired          = Refusal{403, "tls-required", "people sign in over TLS only"}
	noRoute              = Refusal{404, "no-route", "no route matches"}
	methodNotAllowed     = Refusal{405, "method-not-allowed", "the route does not take this method"}
	callerTimeout        = Refusal{408, "caller-timeout", "the caller did not send or take the bytes in time"}
	bodyTooLarge         = Refusal{413, "body-too-large", "the request body is larger than the route accepts"}
	expectationFailed    = Refusal{417, "expectation-failed", "only Expect: 100-continue is understood"}
	misdirected          = Refusal{421, "misdirected", "this server does not answer for that host"}
	headersTooLarge      = Refusal{431, "headers-too-large", "the request has too many header fields"}
	internalError        = Refusal{500, "internal", "the gateway failed; the request was not completed"}
	noCredential         = Refusal{502, "no-credential", "the upstream's credential cannot be used"}
	upstreamForbidden    = Refusal{502, "upstream-forbidden", "the upstream's address is not one the route may reach"}
	upstreamTLS          = Refusal{502, "upstream-tls", "the upstream's TLS identity could not be verified"}
	upstreamReset        = Refusal{502, "upstream-reset", "the upstream ended the exchange before answering"}
	upstreamUnreachable  = Refusal{502, "upstream-unreachable", "the upstream could not be reached"}
	upstreamInvalid      = Refusal{502, "upstream-invalid", "the upstream's answer was not valid"}
	secretReflected      = Refusal{502, "secret-reflected", "the upstream's answer holds the credential that it was sent"}
	auditUnavailable     = Refusal{503, "audit-unavailable", "the request could not be recorded, so it was not sent"}
	policyError          = Refusal{503, "policy-error", "policy could not be evaluated"}
	vaultUnavailable     = Refusal{503, "vault-unavailable", "the vault cannot be relied on right now"}
	tokenUnavailable     = Refusal{503, "token-unavailable", "a token for the upstream cannot be had right now"}
	issuerUnavailable    = Refusal{503, "issuer-unavailable", "the token's issuer cannot be reached to check it"}
	sessionUnavailable   = Refusal{503, "session-unavailable", "sessions cannot be read right now"}
	routeClosed          = Refusal{503, "route-closed", "the route is closed by a configuration problem"}
	draining             = Refusal{503, "draining", "the gateway is shutting down"}
	overloaded           = Refusal{503, "overloaded", "the route has too many requests in flight"}
	upstreamTimeout      = Refusal{504, "upstream-timeout", "the upstream did not answer in time"}
)

// Refusals lists the whole table, for the documentation and the tests that
// keep it true.
func Refusals() []Refusal {
	return []Refusal{
		targetNoncanonical, authorityMismatch, ambiguousCredentials, malformedToken, malformedBody, upgradeUnsupported, parameterReserved, payloadUnsignable,
		noCredentials, tokenExpired, tokenInvalid, issuerUnknown, sessionRevoked, weakAuthentication,
		denied, secretNotBound, originDenied, tlsRequired,
		noRoute, methodNotAllowed, callerTimeout, bodyTooLarge, expectationFailed, misdirected, headersTooLarge,
		internalError,
		noCredential, upstreamForbidden, upstreamTLS, upstreamReset, upstreamUnreachable, upstreamInvalid, secretReflected,
		auditUnavailable, policyError, vaultUnavailable, tokenUnavailable, issuerUnavailable, sessionUnavailable, routeClosed, draining, overloaded,
		upstreamTimeout,
	}
}

// refused is a Refusal on its way to two audiences: detail is for the caller,
// err for the operator's log and span. Neither may quote a secret or a token.
type refused struct {
	Refusal
	detail string
	err    error
	allow  []string     // of a 405: the methods the route takes
	demand authn.Demand // of authentication-insufficient: what would do
}

// because refuses with a detail for the caller; the operator reads the same.
func (r Refusal) because(detail string) *refused { return &refused{Refusal: r, detail: detail} }

// from refuses with an error that only the operator reads.
func (r Refusal) from(err error) *refused { return &refused{Refusal: r, err: err} }

// problem is the body of a refusal: RFC 9457.
type problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Detail  string `json:"detail,omitempty"`
	TraceID string `json:"trace_id"`
}

// write answers with the refusal. It names the trace so that a caller can quote
// it to an operator.
func (r *refused) write(w http.ResponseWriter, method, traceID string) {
	body, err := json.Marshal(problem{
		Type: "about:blank", Title: r.Title, Status: r.Status, Code: r.Code, Detail: r.detail, TraceID: traceID,
	})
	if err != nil { // unreachable: strings and an int
		body = []byte("{}")
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if challenge := r.challenge(); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	if r.allow != nil {
		h.Set("Allow", strings.Join(r.allow, ", "))
	}
	if r.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(r.Status)
	if method != http.MethodHead {
		w.Write(body)
	}
}

// challenge is the WWW-Authenticate field of RFC 6750 section 3: without an
// error code when there was no credential at all (section 3.1).
func (r *refused) challenge() string {
	const realm = `Bearer realm="vaultspan"`
	switch r.Code {
	case noCredentials.Code, sessionRevoked.Code:
		return realm
	case tokenExpired.Code, tokenInvalid.Code, issuerUnknown.Code:
		return realm + `, error="invalid_token", error_description="` + r.Title + `"`
	case malformedToken.Code, ambiguousCredentials.Code:
		return realm + `, error="invalid_request", error_description="` + r.Title + `"`
	case weakAuthentication.Code:
		return realm + `, error="insufficient_user_authentication", error_description="` + r.Title + `"` + demanded(r.demand)
	case denied.Code:
		return realm + `, error="insufficient_scope", error_description="` + r.Title + `"`
	}
	return ""
}
