package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// target is a request's target, parsed once. Policy, record and upstream derive
// from this value and from nothing else, so they cannot disagree about it.
type target struct {
	path  string              // as sent: percent-encoded, canonical, starts with /
	plain string              // path decoded once
	raw   string              // the query as sent, without ?
	asks  bool                // there is a ?, though perhaps nothing after it
	query map[string][]string // the query parsed
}

// parseTarget reads origin-form (RFC 9112 section 3.2.1) and nothing else. What
// is not canonical is refused, not repaired: two parsers that repair
// differently are how path confusion begins (docs/adr/0003).
func parseTarget(requestURI string) (target, error) {
	if !strings.HasPrefix(requestURI, "/") {
		return target{}, errors.New("the target must start with /")
	}
	path, raw, asks := strings.Cut(requestURI, "?")
	if err := checkPath(path); err != nil {
		return target{}, err
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return target{}, errors.New("the path has a malformed percent-encoding")
	}
	if !utf8.ValidString(plain) {
		return target{}, errors.New("the path is not UTF-8")
	}
	query, err := parseQuery(raw)
	if err != nil {
		return target{}, err
	}
	return target{path: path, plain: plain, raw: raw, asks: asks, query: query}, nil
}

// checkPath accepts the canonical spelling of a path: RFC 3986 pchar and /,
// less the characters that mean different things to different parsers.
func checkPath(path string) error {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%':
			if err := checkEncoding(path[i:]); err != nil {
				return err
			}
			i += 2
		case c == ';':
			return errors.New("the path has a ;, which some servers read as a parameter")
		case c == '\\' || c == '#':
			return fmt.Errorf("the path has a %c", c)
		case c != '/' && !isPathByte(c):
			return errors.New("the path has a byte that must be percent-encoded")
		}
	}
	if strings.Contains(path, "//") {
		return errors.New("the path has an empty segment")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return errors.New("the path has a dot segment")
		}
	}
	return nil
}

// checkEncoding accepts the percent-encoding at the start of s if it is the one
// canonical spelling of its byte (RFC 3986 section 6.2.2): upper-case digits,
// not a byte that needs none, not a delimiter in disguise, not encoded twice.
func checkEncoding(s string) error {
	if len(s) < 3 || !isHex(s[1]) || !isHex(s[2]) {
		return errors.New("the path has a malformed percent-encoding")
	}
	digits := s[1:3]
	if digits != strings.ToUpper(digits) {
		return errors.New("the path has a percent-encoding with lower-case digits")
	}
	n, _ := strconv.ParseUint(digits, 16, 8) // two hex digits
	switch c := byte(n); {
	case c < 0x20 || c == 0x7f:
		return errors.New("the path has an encoded control byte")
	case strings.IndexByte(`/\;#`, c) >= 0:
		return fmt.Errorf("the path has an encoded %c", c)
	case isUnreserved(c):
		return fmt.Errorf("the path encodes %c, which needs none", c)
	case c == '%' && len(s) >= 5 && isHex(s[3]) && isHex(s[4]):
		return errors.New("the path is encoded twice")
	}
	return nil
}

// parseQuery reads a query without changing it. Bytes that a request line may
// not hold, and pairs that net/url would drop, are errors.
func parseQuery(raw string) (map[string][]string, error) {
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || c == '#' || c == '\\' {
			return nil, errors.New("the query has a byte that must be percent-encoded")
		}
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errors.New("the query cannot be parsed")
	}
	for name, values := range query {
		if !utf8.ValidString(name) {
			return nil, errors.New("the query is not UTF-8")
		}
		for _, value := range values {
			if !utf8.ValidString(value) {
				return nil, errors.New("the query is not UTF-8")
			}
		}
	}
	return query, nil
}

// parseAuthority splits a Host field value into a lower-case host without its
// final dot, and a port (0 if none). It accepts LDH names and IP literals.
func parseAuthority(authority string) (host string, port int, err error) {
	bad := errors.New("the Host field is not host[:port]")
	host, digits := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host, digits = authority[:i], authority[i+1:]
		port, err = strconv.Atoi(digits)
		if err != nil || port < 1 || port > 65535 || strconv.Itoa(port) != digits {
			return "", 0, bad
		}
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", 0, bad
		}
		return addr.String(), port, nil
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || len(host) > 253 || strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return "", 0, bad
	}
	for i := range len(host) {
		if c := host[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.') {
			return "", 0, bad
		}
	}
	return host, port, nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// isUnreserved is RFC 3986 section 2.3.
func isUnreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		return true
	}
	return false
}

// isPathByte is RFC 3986 pchar without percent-encodings and without ;.
func isPathByte(c byte) bool { return isUnreserved(c) || strings.IndexByte("!$&'()*+,=:@", c) >= 0 }
