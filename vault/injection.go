package vault

import (
	"errors"
	"net/http"
	"strings"
)

// placeholder stands for the secret in a Format. It is replaced once, and what
// the secret itself contains is never expanded.
const placeholder = "{secret}"

// Injection says how an upstream wants its credential: the word bearer, or
// exactly one of the fields. The zero Injection carries nothing anywhere.
type Injection struct {
	// Header names the header that carries the credential.
	Header string `yaml:"header"`
	// Format is the header's value, with {secret} once. Default: {secret}.
	Format string `yaml:"format"`
	bearer bool
}

// Bearer is what the word bearer means: Authorization: Bearer {secret}
// (RFC 6750, section 2.1).
func Bearer() Injection { return Injection{bearer: true} }

// UnmarshalText reads the word bearer, the only scalar an Injection may be.
func (i *Injection) UnmarshalText(text []byte) error {
	if string(text) != "bearer" {
		return errors.New("want the word bearer, or {header: NAME, format: \"Token {secret}\"}")
	}
	*i = Bearer()
	return nil
}

// Places lists the canonical names of the headers that the injection sets: a
// caller's own are removed before.
func (i Injection) Places() []string {
	header, _ := i.header()
	if header == "" {
		return nil
	}
	return []string{header}
}

// header is the one header of today's kinds: its name, and its value around
// the placeholder.
func (i Injection) header() (name, format string) {
	if i.bearer {
		return "Authorization", "Bearer " + placeholder
	}
	if i.Format == "" {
		i.Format = placeholder
	}
	return http.CanonicalHeaderKey(i.Header), i.Format
}

// Check reports every problem of the injection, by its path in it.
func (i Injection) Check(report func(path, problem string)) {
	if i.bearer {
		if i.Header != "" || i.Format != "" {
			report("", "bearer stands alone: give the word bearer, or {header: …}")
		}
		return
	}
	switch {
	case i.Header == "" && i.Format == "":
		report("", "is missing: say how the upstream wants its credential, with the word bearer or {header: NAME, format: \"Token {secret}\"}")
		return
	case i.Header == "":
		report("header", "is missing: name the header that carries the credential")
	case !isToken(i.Header):
		report("header", "is not a header's name: use letters, digits and -")
	case isManaged(i.Header):
		report("header", "the gateway or the connection manages this header: a credential cannot travel in it")
	}
	if i.Format == "" {
		return
	}
	if n := strings.Count(i.Format, placeholder); n != 1 {
		report("format", "want "+placeholder+" exactly once")
	} else if err := usable(i.Format); err != nil {
		report("format", err.Error())
	}
}

// compose is the header's value for secret. It refuses a value that no header
// can carry as it is, so that a broken secret is never sent in part, and an
// empty one never as a bare "Bearer ".
func (i Injection) compose(secret string) (string, error) {
	if err := usable(secret); err != nil {
		return "", err
	}
	_, format := i.header()
	before, after, _ := strings.Cut(format, placeholder)
	return before + secret + after, nil
}

// maxValue bounds a secret. Servers refuse header lines far shorter than it.
const maxValue = 64 << 10

// usable says why s cannot be a header's value. RFC 9110, section 5.5 excludes
// CR, LF and NUL as dangerous and surrounding whitespace as lost on the way;
// other control and non-ASCII bytes are read differently by different servers.
// The error never quotes s.
func usable(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case strings.TrimSpace(s) == "":
		return errors.New("is only whitespace")
	case len(s) > maxValue:
		return errors.New("is longer than 64 KiB")
	}
	if strings.HasSuffix(s, "\n") {
		return errors.New("ends with a newline: store it again without")
	}
	for _, c := range []byte(s) {
		switch {
		case c == '\r' || c == '\n':
			return errors.New("has a line break inside")
		case c < ' ' || c == 0x7f:
			return errors.New("has a control character inside")
		case c > 0x7f:
			return errors.New("has a character outside ASCII")
		}
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return errors.New("begins or ends with whitespace: store it again without")
	}
	return nil
}
