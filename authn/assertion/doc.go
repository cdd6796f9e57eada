// Package assertion signs short statements of who is calling, for upstreams that
// want to know: a JSON Web Token (RFC 7519) on each request, and the set of public
// keys (RFC 7517) to verify it with.
//
// # What it trusts
//
// Its caller, to say the truth in [Claims]: it must have authenticated and
// decided. The seed, which is all there is of a key: whoever has it can say
// anything to every upstream, now and later. Keys are derived from it, one for
// each period, so that nodes with one seed and one configuration sign alike and
// publish the same set without talking to each other, and nothing is stored.
//
// # What it promises
//
//   - One algorithm, ES256. The type in the header is [Type], which no other
//     token has (RFC 8725 section 3.11).
//   - The audience is one route, so that what one upstream receives is no good at
//     another.
//   - The subject is unique at the gateway: an issuer's name, a colon, and the
//     subject there. The same subject at two issuers is two callers.
//   - An assertion ends after lifetime, and with what the issuer vouched for.
//   - A list is whole or not there, and says which. A token of more than [MaxSize]
//     bytes is not made: upstreams drop header fields that are too long.
//   - The set holds the keys of the period before, this one and the next, of every
//     seed. No clock that is less than a period off, and no cache that keeps to
//     its time, meets a key that it does not know.
//
// A derived key that got out is good for its period; a seed that got out, until
// it is taken away. Rotating keys does not help against that.
package assertion
