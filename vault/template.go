package vault

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Template is the name of a secret that is another for each caller, such as
// jira-{subject}: text, and places for what the caller's issuer says of it.
//
// What fills a place is escaped: ASCII letters, digits and . _ @ - stay as they
// are, every other byte becomes % and two upper-case hex digits. The secret of
// auth0|42 is thus called jira-auth0%7C42, exactly and in this case. Between two
// places stands a character that no escaped value holds. So a name says what its
// places were filled with, no two callers share one, and no caller can make up
// what it is not.
type Template struct {
	literals []string // around and between the places
	places   []string // subject, email, issuer, claims.PATH
}

var placeOf = regexp.MustCompile(`\{([^{}]*)\}`)

// ParseTemplate reads a name. One without braces is a Template without places.
func ParseTemplate(name string) (Template, error) {
	var t Template
	end := 0
	for _, at := range placeOf.FindAllStringSubmatchIndex(name, -1) {
		t.literals = append(t.literals, name[end:at[0]])
		t.places = append(t.places, name[at[2]:at[3]])
		end = at[1]
	}
	t.literals = append(t.literals, name[end:])
	for _, place := range t.places {
		path, claim := strings.CutPrefix(place, "claims.")
		switch {
		case claim && path != "" && strings.TrimSpace(path) == path && !slices.Contains(strings.Split(path, "."), ""):
		case place == "subject" || place == "email" || place == "issuer":
		default:
			return Template{}, fmt.Errorf("{%s} is nothing of the caller's: write {subject}, {email}, {issuer} or a claim such as {claims.employee_id}", place)
		}
	}
	for i, literal := range t.literals {
		switch {
		case strings.ContainsAny(literal, "{}"):
			return Template{}, errors.New("has a brace alone: write places such as {subject}; a secret whose name has a brace is named by its id")
		case len(t.places) > 0 && strings.Contains(literal, "%"):
			return Template{}, errors.New("has a % of its own, which escapes what fills a place: choose another character")
		case i > 0 && i < len(t.places) && !strings.ContainsFunc(literal, escaped):
			return Template{}, fmt.Errorf("{%s} and {%s} could run together: put a character between them that no value holds, such as {issuer}:{subject}", t.places[i-1], t.places[i])
		}
	}
	return t, nil
}

// Places are what is to be filled in, without braces, in order. A name that is
// the same for everybody has none.
func (t Template) Places() []string { return t.places }

// ErrNoValue says that the caller has nothing for a place of a Template.
var ErrNoValue = errors.New("the caller's token does not say it")

// Expand is the name for a caller. value says what it has for a place; an empty
// one is ErrNoValue, because it would name what is nobody's.
func (t Template) Expand(value func(place string) string) (string, error) {
	var name strings.Builder
	for i, place := range t.places {
		v := value(place)
		if v == "" {
			return "", fmt.Errorf("{%s}: %w", place, ErrNoValue)
		}
		name.WriteString(t.literals[i])
		escapeInto(&name, v)
	}
	name.WriteString(t.literals[len(t.places)])
	return name.String(), nil
}

// escaped says whether what fills a place never holds r as itself.
func escaped(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("._@-", r)
}

// escapeInto goes byte by byte, so that what is not UTF-8 stays apart too.
func escapeInto(name *strings.Builder, value string) {
	for _, b := range []byte(value) {
		if escaped(rune(b)) {
			fmt.Fprintf(name, "%%%02X", b)
		} else {
			name.WriteByte(b)
		}
	}
}

// Overlaps says whether some name could be made of both templates: then what is
// one caller's by the first could be another's by the second. It says so rather
// once too often. A name without places is taken as itself.
func (t Template) Overlaps(other Template) bool {
	if len(t.places) == 0 {
		t, other = other, t
	}
	first, last := t.ends()
	if len(other.places) == 0 {
		name := other.literals[0]
		return len(name) > len(first)+len(last) && strings.HasPrefix(name, first) && strings.HasSuffix(name, last)
	}
	begin, end := other.ends()
	alike := strings.HasPrefix(first, begin) || strings.HasPrefix(begin, first)
	return alike && (strings.HasSuffix(last, end) || strings.HasSuffix(end, last))
}

func (t Template) ends() (first, last string) {
	return t.literals[0], t.literals[len(t.literals)-1]
}
