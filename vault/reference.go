package vault

import (
	"errors"
	"fmt"
	"strings"
)

// Collection is a named set of secrets that roles can reach: a project of one
// machine account. It is written vault/collection.
type Collection struct {
	Vault string // the vault's name in the configuration
	Name  string // the project's name
}

// String is vault/collection.
func (c Collection) String() string { return c.Vault + "/" + c.Name }

// Reference names one secret of a collection. It is written
// vault/collection/name; name is the secret's key, or its id, or a Template of
// keys.
type Reference struct {
	Collection Collection
	Name       string
}

// String is vault/collection/name.
func (r Reference) String() string { return r.Collection.String() + "/" + r.Name }

// Personal says whether the reference names a secret of each caller's own: its
// name is a Template with places.
func (r Reference) Personal() bool { return strings.ContainsRune(r.Name, '{') }

// ParseReference reads vault/collection/name. It wants exactly three parts, so
// that there is one way to say where the collection ends: a role that may use
// prod/a must not reach what another reading calls prod/a/b.
func ParseReference(s string) (Reference, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return Reference{}, errors.New("want vault/collection/name, three parts; a secret whose name has a slash is named by its id, and a project is renamed")
	}
	for _, p := range parts {
		if p == "" || strings.TrimSpace(p) != p || strings.ContainsFunc(p, isControl) {
			return Reference{}, errors.New("want vault/collection/name, each without surrounding spaces or control characters")
		}
	}
	if strings.ContainsAny(parts[0]+parts[1], "{}") {
		return Reference{}, errors.New("want vault/collection/name: only the name may hold what is the caller's, such as {subject}")
	}
	if _, err := ParseTemplate(parts[2]); err != nil {
		return Reference{}, fmt.Errorf("the name %w", err)
	}
	return Reference{Collection{parts[0], parts[1]}, parts[2]}, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
