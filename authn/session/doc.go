// Package session lets people in with a browser: it logs them in at an OpenID
// provider, keeps a session for them, and ends it.
//
//	                 GET route                      GET /.vaultspan/login
//	no session ───────────────────▶ redirect ─────────────────────▶ at the provider
//	     ▲                                                                │
//	     │ idle, absolute, refused refresh,                               │ GET /.vaultspan/callback
//	     │ logout here or there, revocation                               ▼
//	   ended ◀───────────────────────────────────────────────────────── live ──┐
//	                                                                      ▲    │ refresh due:
//	                                                                      └────┘ one node asks
//
// # What it trusts
//
// Package authn, for everything that a provider says: codes, ID tokens, logout
// tokens. The store, to keep what it is given and to answer with it; what it
// holds is sealed with a key that the store does not have, so whoever reads or
// writes it learns no token and makes up no identity. Its caller, to have
// checked that the request's host is one of ours and that nobody could read the
// request on its way.
//
// A browser is trusted with one random number of 256 bits, in a cookie that
// scripts cannot read and that other sites cannot have sent along with anything
// but a click on a link. The store knows only its hash.
//
// # What it refuses
//
//   - An authorization response that this browser did not ask for: state must
//     match a cookie of this browser, sealed, of this host, at most ten minutes
//     old and good once. So nobody can log a visitor in as somebody else.
//   - A return to anywhere but a path on the host that the login began on, in
//     canonical spelling. Anything else becomes /.
//   - To guess: two session cookies on a request, one that is not whole, one
//     that no store knows.
//   - To change anything for another site's page: logout is a POST of our own
//     page.
//   - To go round in circles: after three logins for one page within a minute
//     there is a page that says so.
//
// # How long
//
// A session ends when nobody used it for Config.Idle, at Config.Absolute in any
// case, and when the provider says so: at the next refresh (every
// Config.Refresh, while it is used) or at once by back-channel logout. When the
// provider cannot be asked, what it said last is believed until the tokens that
// it gave expire. Without a refresh token that is the end of the session.
//
// A session that ended is refused on this node at once and on every other node
// within two seconds: that is how long an answer of the store is believed.
//
// # Rotating refresh tokens
//
// A refresh is two writes: a lease on the session, and then the new tokens. A
// process that dies between them has used up a refresh token whose successor
// nobody knows. The next one to come sees a lease that has run out and tries the
// old token once more: providers that allow for this (a grace period for reuse)
// give another successor. Others refuse, and the session ends: for the person
// that is a redirect to the provider and back.
//
// # Known gaps
//
// Whoever can write to the store can put an older state of a session back, make
// one look used just now, and delete sessions. Refresh tokens are revoked at the provider when somebody
// ends a session; those of sessions that nobody comes back to are left to expire.
package session
