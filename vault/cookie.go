package vault

import (
	"slices"
	"strings"
)

// SetsCookie says whether a Set-Cookie line is for the injection's cookie. An
// upstream that renews its session this way would give the caller a credential.
func (i Injection) SetsCookie(line string) bool {
	pair, _, _ := strings.Cut(line, ";")
	return i.Cookie != "" && isCookie(pair, i.Cookie)
}

// withCookie is Cookie lines with pair before all others, and without those
// that some server would take for the cookie of that name. A line without one
// is left byte for byte, and so is every other cookie of a line with one.
//
// The pair comes first because servers that know quoted strings read
// a="x; sid=SECRET as one cookie a, and may show it. Before ours there is
// nothing of the caller's, so nothing can open a quote, or ask for the rules of
// RFC 2109 with $Version.
func withCookie(lines []string, name, pair string) []string {
	worn := make([]string, 1, len(lines)+1)
	worn[0] = pair
	isOurs := func(pair string) bool { return isCookie(pair, name) }
	for _, line := range lines {
		if pairs := strings.Split(line, ";"); slices.ContainsFunc(pairs, isOurs) {
			line = strings.Join(slices.DeleteFunc(pairs, isOurs), ";")
		}
		line = strings.Trim(line, " \t") // no part of a field's value: RFC 9110, section 5.5
		switch {
		case line == "":
		case len(worn) == 1 && worn[0] == pair:
			worn[0] += "; " + line // one line for one cookie more: RFC 6265, section 5.4
		default:
			worn = append(worn, line)
		}
	}
	return worn
}

// isCookie says whether one of what stands between two ; is the cookie of that
// name, or has it after a comma, which separates too in RFC 2109. Names are
// compared with their case (RFC 6265, section 5.3). Known gap: ASP.NET ignores
// it, and reads the first of two that differ in case, or the last.
func isCookie(pair, name string) bool {
	equal := func(a, b string) bool { return a == b }
	first, rest, more := strings.Cut(strings.TrimLeft(pair, " \t="), ",")
	written, _, _ := strings.Cut(first, "=")
	if isReadAs(written, name, equal) {
		return true
	}
	for more {
		first, rest, more = strings.Cut(rest, ",")
		if written, _, ok := strings.Cut(first, "="); ok && isReadAs(written, name, equal) {
			return true
		}
	}
	return false
}
