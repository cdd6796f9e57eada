package vault

import "strings"

// isReadAs says whether some server reads the name of a parameter or cookie,
// as a caller wrote it, as name:
//   - percent-decoded, once or more often: PHP decoded names of cookies too
//     (CVE-2020-7070);
//   - without what is around it: spaces, quotes, control bytes;
//   - up to a bracket: name[] and name[x] are name to PHP, Rails and qs, and
//     [name] to qs;
//   - with _ for a dot, a space and an open bracket: PHP.
func isReadAs(written, name string, equal func(a, b string) bool) bool {
	name = underscored(name)
	written = strings.TrimFunc(decoded(written), func(r rune) bool { return !isTokenByte(r) })
	if i := strings.IndexAny(written, "[]\x00"); i >= 0 && equal(underscored(written[:i]), name) {
		return true
	}
	return equal(underscored(written), name)
}

func underscored(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == ' ' || r == '[' {
			return '_'
		}
		return r
	}, name)
}

// decoded is s percent-decoded until there is nothing left to decode, with a
// space for each +. It takes time in proportion to s, however deep.
func decoded(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for _, c := range []byte(s) {
		if c == '+' {
			c = ' '
		}
		for out = append(out, c); len(out) > 2 && out[len(out)-3] == '%'; {
			high, low := hexDigit(out[len(out)-2]), hexDigit(out[len(out)-1])
			if high < 0 || low < 0 {
				break
			}
			out = append(out[:len(out)-3], byte(high<<4|low))
		}
	}
	return string(out)
}

func hexDigit(c byte) int { return strings.IndexByte("0123456789abcdef", foldByte(c)) }
