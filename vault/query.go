package vault

import (
	"slices"
	"strings"
)

// CutQuery returns a raw query without the parameters that some server would
// take for the injection's, and whether there were any. What is kept is so byte
// for byte. It is for what an upstream sends back: a caller's query is not ours
// to edit, so one with such a parameter is refused.
func (i Injection) CutQuery(raw string) (rest string, found bool) { return cutQuery(raw, i.Query) }

// Reserves says whether a caller's raw query has a parameter that some server
// would take for a credential of the injection's.
func (i Injection) Reserves(raw string) bool {
	if i.SigV4 != (SigV4{}) {
		return reserves(raw, presigned)
	}
	_, found := i.CutQuery(raw)
	return found
}

func reserves(raw string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, found := cutQuery(raw, name); return found })
}

func cutQuery(raw, name string) (rest string, found bool) {
	if name == "" || raw == "" {
		return raw, false
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if found = isParameter(pair, name); found {
			break
		}
	}
	if !found {
		return raw, false
	}
	pairs := strings.Split(raw, "&")
	return strings.Join(slices.DeleteFunc(pairs, func(pair string) bool { return isParameter(pair, name) }), "&"), true
}

// isParameter says whether one of what stands between two & is the parameter of
// that name. To some servers ; separates too. Case is ignored, as in ASP.NET.
func isParameter(pair, name string) bool {
	for one := range strings.SplitSeq(pair, ";") {
		written, _, _ := strings.Cut(one, "=")
		if isReadAs(written, name, strings.EqualFold) {
			return true
		}
	}
	return false
}

// withParameter is a raw query, which is left as it is, and the pair after it.
func withParameter(raw, pair string) string {
	if raw == "" {
		return pair
	}
	return raw + "&" + pair
}
