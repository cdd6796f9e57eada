package vault

import "strings"

// percentEncoded is RFC 3986, section 2.1, for every byte of s that is neither
// unreserved (section 2.3) nor one of keep.
func percentEncoded(s, keep string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if isUnreserved(rune(c)) && c < 0x80 || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}
