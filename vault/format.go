package vault

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// placeholder stands for the whole secret in a format.
const placeholder = "{secret}"

// placeholders are {secret} and the names of fields. Any other brace is itself.
var placeholders = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_-]*)\}`)

// format is a format taken apart: a literal, a name, a literal, and so on.
type format struct{ literals, names []string }

func parseFormat(s string) format {
	var f format
	end := 0
	for _, at := range placeholders.FindAllStringSubmatchIndex(s, -1) {
		f.literals = append(f.literals, s[end:at[0]])
		f.names = append(f.names, s[at[2]:at[3]])
		end = at[1]
	}
	f.literals = append(f.literals, s[end:])
	return f
}

// whole says whether the format takes the secret as one value.
func (f format) whole() bool { return slices.Contains(f.names, "secret") }

// checkNames says what is wrong with the placeholders of an injection.
func checkNames(formats ...string) error {
	var all format
	for _, s := range formats {
		all.names = append(all.names, parseFormat(s).names...)
	}
	slices.Sort(all.names)
	switch {
	case len(all.names) == 0:
		return errors.New("holds nothing of the secret: want " + placeholder + ", or fields of it such as {token}")
	case len(slices.Compact(slices.Clone(all.names))) < len(all.names):
		return errors.New("want each placeholder once")
	case all.whole() && len(all.names) > 1:
		return errors.New(placeholder + " is the whole secret, so no field goes with it: if a field is called secret, call it something else")
	}
	return nil
}

// contents is a secret about to be worn.
type contents struct {
	whole  string
	fields map[string]jsontext.Value // if it is a JSON object
	err    error                     // why it is not, or not a strict one
}

var (
	errNoObject  = errors.New(`is not a JSON object, and inject takes fields of one: store {"NAME": "…"}, or let inject take {secret}`)
	errNotStrict = errors.New("is not a strict JSON object: it has a field twice, or is not UTF-8")
	errWhole     = errors.New(`is a JSON object, and the upstream would get all of it: let inject take a field, as in {header: X-Api-Key, format: "{token}"}`)
)

// open reads a secret. The error never quotes it.
func open(secret string) (*contents, error) {
	switch {
	case secret == "":
		return nil, errors.New("is empty")
	case strings.TrimSpace(secret) == "":
		return nil, errors.New("is only whitespace")
	case len(secret) > maxValue:
		return nil, errors.New("is longer than 64 KiB")
	}
	c := &contents{whole: secret, err: errNoObject}
	if !strings.HasPrefix(strings.TrimLeft(secret, " \t\r\n"), "{") {
		return c, nil
	}
	raw := jsontext.Value(secret)
	defer clear(raw)
	if raw.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		c.err = nil
		// Two readers of {"token": 1, "token": 2} see two tokens.
		if json.Unmarshal(raw, &c.fields) != nil {
			c.err = errNotStrict
		}
	}
	return c, nil
}

// close wipes what was read of an object.
func (c *contents) close() {
	for _, v := range c.fields {
		clear(v)
	}
}

// fill is s with the secret, or fields of it, in the place of the placeholders:
// each once, as they are. What a value itself contains is never expanded.
func (c *contents) fill(s string, fit func(string) error) (string, error) {
	f := parseFormat(s)
	var b strings.Builder
	for n, literal := range f.literals {
		b.WriteString(literal)
		if n == len(f.names) {
			break
		}
		value, err := c.value(f.names[n], fit)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// value is what a placeholder stands for.
func (c *contents) value(name string, fit func(string) error) (string, error) {
	if name == "secret" {
		if c.err != errNoObject {
			return "", errWhole
		}
		return c.whole, fit(c.whole)
	}
	if c.err != nil {
		return "", c.err
	}
	var value string
	switch raw, ok := c.fields[name]; {
	case !ok:
		return "", fmt.Errorf("has no field %q, which inject names", name)
	case raw.Kind() != '"':
		return "", fmt.Errorf("has a field %q that is not text: put it in quotes", name)
	default:
		if err := json.Unmarshal(raw, &value); err != nil {
			return "", errNotStrict
		}
	}
	if value == "" {
		return "", fmt.Errorf("has an empty field %q", name)
	}
	if err := fit(value); err != nil {
		return "", fmt.Errorf("has a field %q that %w", name, err)
	}
	return value, nil
}
