package vault

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file says which text can be worn where. No error quotes the text.

// maxValue bounds a secret. Servers refuse header lines far shorter than it.
const maxValue = 64 << 10

// plainText is what any place can carry at best: RFC 7617, section 2, for the
// user and the password of basic. Surrounding whitespace is a slip of whoever
// stored it.
func plainText(s string) error {
	if strings.HasSuffix(s, "\n") {
		return errors.New("ends with a newline: remove it")
	}
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8")
	}
	for _, r := range s {
		switch {
		case r == '\r' || r == '\n':
			return errors.New("has a line break inside")
		case unicode.IsControl(r):
			return errors.New("has a control character inside")
		}
	}
	if strings.TrimSpace(s) != s {
		return errors.New("begins or ends with whitespace: remove it")
	}
	return nil
}

// userID is the user of basic: what comes after the first colon is the
// password.
func userID(s string) error {
	if strings.Contains(s, ":") {
		return errors.New("has a colon, which ends a user name (RFC 7617)")
	}
	return plainText(s)
}

// fieldValue is text for a header, and for the query. RFC 9110, section 5.5
// excludes CR, LF and NUL as dangerous and surrounding whitespace as lost on
// the way; other control and non-ASCII bytes are read differently by different
// servers.
func fieldValue(s string) error {
	if err := plainText(s); err != nil {
		return err
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) {
		return errors.New("has a character outside ASCII")
	}
	return nil
}

// cookieOctets is text for a cookie (RFC 6265, section 4.1.1). There is no way
// to quote what does not fit that all servers read alike.
func cookieOctets(s string) error {
	if err := fieldValue(s); err != nil {
		return err
	}
	if strings.ContainsAny(s, " \",;\\") {
		return errors.New("has a space, quote, comma, semicolon or backslash, which no cookie can carry: the upstream wants it in another place, or encoded as it expects")
	}
	return nil
}
