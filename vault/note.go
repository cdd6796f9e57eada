package vault

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
)

// terms are what a secret's own note says of its use. They narrow what the
// configuration allows, and can widen nothing.
type terms struct {
	hosts   []hostPattern // where the secret may go; nil: wherever it is bound to
	owner   string        // who rotates it, for people
	maxAge  time.Duration // zero: not said
	expires time.Time     // zero: never
}

// A note is people's free text, and may hold secrets: no error here quotes any
// of it, and only what was read from the block is kept.
//
// The block begins at the one line that begins with "vaultspan:" and takes the
// lines below it that are blank or indented. It is YAML. All other lines are
// free, but for those that look like a block and are not one (indented, in
// quotes, in another case): who wrote such a line believes that it binds.
var (
	blockLine = regexp.MustCompile(`^vaultspan:`)
	likeBlock = regexp.MustCompile(`(?i)^[^\pL\pN]*vaultspan[^\pL\pN]*:`)
	// lineBreaks are all that some reader of the note breaks a line at.
	lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")
)

// maxBlock bounds what is given to the YAML parser.
const maxBlock = 4 << 10

// block cuts the block out of a note. line is where it begins, from 1; zero:
// there is none.
func block(note string) (text string, line int, err error) {
	var lines []string
	inside := false
	for i, l := range strings.Split(lineBreaks.Replace(note), "\n") {
		switch {
		case blockLine.MatchString(l) && line > 0:
			return "", 0, fmt.Errorf("lines %d and %d both begin with vaultspan: keep one", line, i+1)
		case blockLine.MatchString(l):
			inside, line = true, i+1
			lines = append(lines, l)
		case inside && (strings.TrimSpace(l) == "" || l[0] == ' ' || l[0] == '\t'):
			lines = append(lines, l)
		case likeBlock.MatchString(l):
			return "", 0, fmt.Errorf("line %d looks like a block of vaultspan: and is not: begin the line with it, in lower case and without quotes", i+1)
		default:
			inside = false
		}
	}
	text = strings.Join(lines, "\n")
	if len(text) > maxBlock {
		return "", 0, fmt.Errorf("the block on line %d is longer than %d bytes", line, maxBlock)
	}
	return text, line, nil
}

// parseNote reads the terms in a note. Whatever is not plainly meant is an
// error: a limit that was misread would be none.
func parseNote(note string) (_ terms, err error) {
	text, line, err := block(note)
	if line == 0 || err != nil {
		return terms{}, err
	}
	notYAML := fmt.Errorf("the block on line %d is not YAML", line)
	// Bitwarden is trusted with what a note says, and not with ending the
	// process: a parser that panics has not read it.
	defer func() {
		if recover() != nil {
			err = notYAML
		}
	}()
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) != 1 || len(doc.Content[0].Content) != 2 {
		return terms{}, notYAML // the parser's own words would quote it
	}
	n := noteBlock{first: line}
	n.read(doc.Content[0].Content[1])
	if err := errors.Join(n.problems...); err != nil {
		return terms{}, err
	}
	return n.terms, nil
}

// noteBlock reads the block of a note.
type noteBlock struct {
	terms
	first    int // the line it begins on
	problems []error
}

func (n *noteBlock) wrong(at *yaml.Node, text string) {
	n.problems = append(n.problems, fmt.Errorf("line %d: %s", n.first+at.Line-1, text))
}

// noteKeys are all that a block may have.
const noteKeys = "the keys of vaultspan are hosts, owner, max_age and expires"

func (n *noteBlock) read(block *yaml.Node) {
	if !plainNode(block) || block.Kind != yaml.MappingNode || len(block.Content) == 0 {
		n.wrong(block, "want keys and values: "+noteKeys)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(block.Content); i += 2 {
		key, value := block.Content[i], block.Content[i+1]
		name := key.Value
		switch {
		case !plainNode(key) || key.Kind != yaml.ScalarNode:
			n.wrong(key, "is not a key: "+noteKeys)
			continue
		case seen[name]:
			n.wrong(key, "has a key for the second time")
			continue
		}
		seen[name] = true
		switch name {
		case "hosts":
			n.readHosts(value)
		case "owner":
			n.owner = n.word(value, "owner")
			if utf8.RuneCountInString(n.owner) > 64 || strings.ContainsFunc(n.owner, func(r rune) bool { return !unicode.IsPrint(r) }) {
				n.wrong(value, "owner wants at most 64 printable characters")
			}
		case "max_age":
			n.readMaxAge(value)
		case "expires":
			n.readExpires(value)
		default:
			n.wrong(key, "is not a key: "+noteKeys)
		}
	}
}

// plainNode refuses what makes a value mean what stands elsewhere, or nothing.
func plainNode(n *yaml.Node) bool {
	return n.Kind != yaml.AliasNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0 && n.Tag != "!!null" && n.Tag != "!!merge"
}

// word is a text. A date is one too, however YAML reads it.
func (n *noteBlock) word(value *yaml.Node, key string) string {
	if !plainNode(value) || value.Kind != yaml.ScalarNode || value.Tag != "!!str" && value.Tag != "!!timestamp" || value.Value == "" {
		n.wrong(value, key+" wants a text: if it is a number or a word that YAML knows, put it in quotes")
		return ""
	}
	return value.Value
}

func (n *noteBlock) readHosts(list *yaml.Node) {
	if !plainNode(list) || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		n.wrong(list, "hosts wants a list with at least one host, such as [api.example.com]")
		return
	}
	for _, item := range list.Content {
		before := len(n.problems)
		host, err := parseHostPattern(n.word(item, "hosts"))
		if err != nil && len(n.problems) == before {
			n.wrong(item, err.Error())
		}
		n.hosts = append(n.hosts, host)
	}
}

func (n *noteBlock) readMaxAge(value *yaml.Node) {
	if s := n.word(value, "max_age"); s != "" {
		age, ok := parseAge(s)
		if !ok {
			n.wrong(value, "max_age wants one duration, such as 90d")
		}
		n.maxAge = age
	}
}

// readExpires takes a day, which is not usable any more from its beginning in
// UTC, or an instant.
func (n *noteBlock) readExpires(value *yaml.Node) {
	s := n.word(value, "expires")
	if s == "" {
		return
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && !t.IsZero() {
			n.expires = t.UTC()
			return
		}
	}
	n.wrong(value, "expires wants a day such as 2027-01-31, or an instant such as 2027-01-31T12:00:00Z")
}

// hostPattern is one of hosts: a name or an address, or one label and a name.
type hostPattern struct {
	label bool   // any one label comes before the name
	name  string // in lower case
	port  int    // zero: the scheme's
}

var (
	errHost   = errors.New("hosts wants host or host:port, without scheme or path: api.example.com, api.example.com:8443 or *.example.com, where * is one label")
	hostNames = regexp.MustCompile(`^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$`)
)

func parseHostPattern(s string) (hostPattern, error) {
	var p hostPattern
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		p.name = strings.ToLower(s)
		return p, nil
	}
	host := strings.ToLower(s)
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		port, err := strconv.ParseUint(host[i+1:], 10, 16)
		if err != nil || port == 0 || host[i+1] == '0' {
			return hostPattern{}, errHost
		}
		host, p.port = host[:i], int(port)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
			return hostPattern{}, errHost
		}
		p.name = inner
		return p, nil
	}
	host, p.label = strings.CutPrefix(host, "*.")
	p.name = strings.TrimSuffix(host, ".")
	if !hostNames.MatchString(p.name) {
		return hostPattern{}, errHost
	}
	return p, nil
}

// allows says whether a secret of this pattern may go to d.
func (p hostPattern) allows(d Destination) bool {
	d = d.normal()
	name := d.Host
	if p.label {
		label, rest, found := strings.Cut(name, ".")
		if !found || label == "" {
			return false
		}
		name = rest
	}
	want := Destination{Scheme: d.Scheme, Host: p.name, Port: p.port}.normal()
	return d.valid() && name == want.Host && d.Port == want.Port
}

// conflict says why the note of the secret closes this binding, or nil. A secret
// that is exchanged for a token has two places to go to, and the note has to
// allow both: its token endpoint, and where the token is worn.
func (h *holding) conflict(noteError error, required bool, exchanged Destination) error {
	to := h.destination
	allows := func(p hostPattern) bool { return p.allows(to) }
	if exchanged != (Destination{}) && slices.ContainsFunc(h.terms.hosts, allows) {
		to = exchanged
	}
	switch hosts := h.terms.hosts; {
	case noteError != nil:
		return fmt.Errorf("the note of secret %s cannot be followed: %w", h.id, noteError)
	case len(hosts) == 0 && required:
		return fmt.Errorf("the note of secret %s does not say where it may go, and require_binding wants it to: write a line into it such as vaultspan: {hosts: [%s]}", h.id, to.Host)
	case len(hosts) > 0 && !slices.ContainsFunc(hosts, allows):
		return fmt.Errorf("the note of secret %s does not let it go to %s: add that to its hosts if it is right, or correct the route", h.id, to)
	}
	return nil
}
