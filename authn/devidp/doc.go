// Package devidp is an OpenID provider for the demo and the tests. It speaks
// the real protocols: discovery, authorization code with PKCE, client
// credentials, rotating refresh tokens and token exchange (RFC 8693), on
// github.com/zitadel/oidc with storage of its own.
//
// It trusts whoever can reach it: a person logs in by clicking their name, and
// POST /token-for answers with anybody's token. So it serves loopback only: New
// refuses any other issuer, and the handler refuses any other peer or Host.
// Everything is in memory and gone when the process ends.
//
// What a client must prove it does check, because that is what the tests lean
// on: redirect URIs and client secrets are compared exactly, PKCE is required
// and must be S256, a code and a refresh token work once, and an agent may act
// only for the people its Client names.
//
// Access tokens follow RFC 9068 (typ at+jwt). ID tokens are typ JWT with the
// client alone as audience. Both carry the groups, roles and email of the
// subject, whatever the scope. Known gaps, since no gateway test needs them: no
// introspection, no revocation of access tokens, no device flow.
//
// The underlying library reports refused requests to slog's default logger at
// level Warn or Info, without tokens or secrets; this package sets no logger.
package devidp
