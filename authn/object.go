package authn

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep the JSON of a token or of an issuer may nest.
const maxDepth = 32

// The text of what is wrong with a JSON document. jsontext's own errors quote
// the document, which may be a token.
var (
	errDepth   = errors.New("JSON nested too deep")
	errStrict  = errors.New("not one strict JSON object")
	errVariant = errors.New("a JSON member whose name differs only in case from one that is read")
)

// object is one level of JSON: its members by name, each still raw.
type object map[string]jsontext.Value

// names are the members that are read from one level of JSON.
type names struct {
	exact  map[string]bool
	folded map[string]bool
}

func namesOf(list ...string) names {
	n := names{exact: map[string]bool{}, folded: map[string]bool{}}
	for _, name := range list {
		n.exact[name] = true
		n.folded[fold(name)] = true
	}
	return n
}

// object decodes one object and checks its names.
func (n names) object(document []byte) (object, error) {
	o, err := decode(document)
	if err != nil {
		return nil, err
	}
	return o, n.check(o)
}

// check refuses members whose names are case variants of those that are read:
// encoding/json and many others fold case and take the last, so "Sub" would be
// sub to them and nothing to us (RFC 8725 section 2.4).
func (n names) check(o object) error {
	for name := range o {
		if !n.exact[name] && n.folded[fold(name)] {
			return errVariant
		}
	}
	return nil
}

// decode reads one object. It refuses duplicate names at any depth, invalid
// UTF-8 and anything after the object.
func decode(document []byte) (object, error) {
	if tooDeep(document) {
		return nil, errDepth
	}
	if jsontext.Value(document).Kind() != '{' { // null would decode to an empty object
		return nil, errStrict
	}
	var o object
	if err := json.Unmarshal(document, &o); err != nil {
		return nil, errStrict
	}
	return o, nil
}

// has reports whether any of the names is a member, whatever its value.
func (o object) has(names ...string) bool {
	for _, name := range names {
		if _, ok := o[name]; ok {
			return true
		}
	}
	return false
}

// text returns the member as a string; ok is false when it is absent or
// anything but a string.
func (o object) text(name string) (s string, ok bool) {
	return text(o[name])
}

// optional returns the member as a string, empty when it is absent; ok is false
// when it is there and not a string that says something.
func (o object) optional(name string) (s string, ok bool) {
	v, there := o[name]
	if !there {
		return "", true
	}
	s, ok = text(v)
	return s, ok && s != ""
}

func text(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}

// scalar returns a string, number or bool as text, a number as it is written.
func scalar(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '0', 't', 'f':
		return string(v), true
	}
	return text(v)
}

// list returns the elements of an array that each element turns into text. It
// is all or nothing: one element of another sort, more than maxList elements
// or one longer than maxItem and there is no list.
func list(v jsontext.Value, element func(jsontext.Value) (string, bool)) ([]string, bool) {
	const maxList, maxItem = 500, 256
	if v.Kind() != '[' {
		return nil, false
	}
	var raw []jsontext.Value
	if err := json.Unmarshal(v, &raw); err != nil || len(raw) > maxList {
		return nil, false
	}
	items := make([]string, 0, len(raw))
	for _, r := range raw {
		s, ok := element(r)
		if !ok || utf8.RuneCountInString(s) > maxItem {
			return nil, false
		}
		items = append(items, s)
	}
	return items, true
}

// number returns the member as a number.
func (o object) number(name string) (float64, bool) {
	v := o[name]
	if v.Kind() != '0' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return f, err == nil
}

// fold maps all case variants of s to one spelling, the same way encoding/json
// compares names: Unicode simple folding, in which the Kelvin sign is a k and
// the long s is an s.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		for { // SimpleFold walks a cycle upwards and ends at its smallest member
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, s)
}

// tooDeep reports whether a document nests deeper than maxDepth. It only counts, in
// one pass that allocates nothing, so that a megabyte of brackets costs little
// before a parser sees it.
func tooDeep(document []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(document); i++ {
		switch c := document[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
