package vault

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// This file is for an upstream that wants its credential in the path, as
// Telegram's API does: /bot{secret}/sendMessage.

// wearPath makes a secret's value ready to stand before the path of requests.
func wearPath(format, secret string) (worn, error) {
	c, err := open(secret)
	if err != nil {
		return worn{}, err
	}
	defer c.close()
	var prefix []string // as sent
	var mark string
	for segment := range strings.SplitSeq(format, "/") {
		value, err := c.fill(segment, segmentText)
		if err != nil {
			return worn{}, err
		}
		if value == "." || value == ".." {
			return worn{}, errors.New("makes a segment of dots, which leads elsewhere")
		}
		if f := parseFormat(segment); len(f.names) > 0 {
			mark = value[len(f.literals[0]) : len(value)-len(f.literals[len(f.names)])]
		}
		prefix = append(prefix, percentEncoded(value, segmentBytes))
	}
	put := strings.Join(prefix, "/")
	return worn{
		put:     func(r *http.Request) error { return putPath(r, put) },
		conceal: func(h http.Header) { concealPath(h, mark) },
		values:  func() []string { return Injection{Path: format}.taken(secret) },
	}, nil
}

// putPath puts prefix before the path of r, which stays as it was encoded. It
// does not change a URL that r may share with others.
func putPath(r *http.Request, prefix string) error {
	u := *r.URL
	u.RawPath = prefix + u.EscapedPath()
	var err error
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil || u.EscapedPath() != u.RawPath {
		return errors.New("cannot be put before the path of this request")
	}
	r.URL = &u
	return nil
}

// concealPath takes the segment with the credential out of what an upstream says
// of where something is, in any of its spellings.
func concealPath(h http.Header, mark string) {
	isOurs := func(segment string) bool { // a + is a plus or a space
		plain := decoded(segment)
		return strings.Contains(plain, mark) || strings.Contains(plain, decoded(mark))
	}
	for _, name := range []string{"Location", "Content-Location"} {
		for i, reference := range h[name] {
			end := len(reference)
			if at := strings.IndexAny(reference, "?#"); at >= 0 {
				end = at
			}
			if segments := strings.Split(reference[:end], "/"); slices.ContainsFunc(segments, isOurs) {
				h[name][i] = strings.Join(slices.DeleteFunc(segments, isOurs), "/") + reference[end:]
			}
		}
	}
}

// segmentBytes need no encoding in a segment (RFC 3986, section 3.3). The colon
// is what all clients of Telegram leave as it is.
const segmentBytes = ":"

// segmentText is text for one segment of a path, however often a server decodes
// it: a backslash is a slash to some.
func segmentText(s string) error {
	if strings.ContainsAny(s, `/\%`) {
		return errors.New("has a slash, backslash or percent sign, which no segment of a path can carry safely")
	}
	return fieldValue(s)
}

// checkPathFormat reports what is wrong with a prefix of segments.
func checkPathFormat(format string, report func(path, problem string)) {
	if err := checkNames(format); err != nil {
		report("path", err.Error())
		return
	}
	if !strings.HasPrefix(format, "/") || strings.HasSuffix(format, "/") || strings.Contains(format, "//") {
		report("path", "is not segments that each begin with /: write it as in /bot{secret}")
		return
	}
	own := 0
	for segment := range strings.SplitSeq(format[1:], "/") {
		f := parseFormat(segment)
		if len(f.names) > 0 {
			own++
		}
		if literal := strings.Join(f.literals, ""); strings.ContainsFunc(literal, func(r rune) bool { return !isUnreserved(r) && !strings.ContainsRune(segmentBytes, r) }) {
			report("path", "has a character that is not a letter, a digit or one of -._~: around the placeholder")
			return
		} else if len(f.names) == 0 && (literal == "." || literal == "..") {
			report("path", "has a segment of dots, which leads elsewhere")
			return
		}
	}
	if own != 1 {
		report("path", "has the secret in more than one segment: want it in one")
	}
}
