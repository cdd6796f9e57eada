// Package devidp is an OpenID provider for the demo and the tests. It speaks
// the real protocols: discovery, authorization code with PKCE, client
// credentials, rotating refresh tokens and their revocation (RFC 7009), token
// exchange (RFC 8693), RP-initiated and back-channel logout, on
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
// Whoever is picked is signed in, in that browser, until they sign out at the
// end_session endpoint or on their page, /account. That spares nobody the
// picker, but for clients that ask with prompt=none. ID tokens say auth_time, sid
// and, if the client asked for any, acr: the first of acr_values, since a click
// is as strong as anybody wants here. Whoever signs out is out: clients are told
// and refresh tokens are dead, offline_access or not.
//
// Access tokens follow RFC 9068 (typ at+jwt). ID tokens are typ JWT with the
// client alone as audience. Both carry the groups, roles and email of the
// subject, whatever the scope. Known gaps, since no gateway test needs them: no
// introspection, no revocation of access tokens, no device flow.
//
// The underlying library reports refused requests to slog's default logger at
// level Warn or Info, without tokens or secrets; this package sets no logger.
package devidp
