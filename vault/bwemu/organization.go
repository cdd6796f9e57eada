package bwemu

import (
	"crypto/sha256"
	"slices"
	"time"
)

// An Organization holds projects, secrets and machine accounts.
type Organization struct {
	ID string

	emulator *Emulator
	fixed    bool
	key      key
	moved    time.Time // the last change of anything, which sync compares with
	projects []*Project
	secrets  []*Secret // oldest first
}

// AddOrganization adds an empty organization.
func (e *Emulator) AddOrganization() *Organization {
	return e.add(&Organization{ID: newID()})
}

// AddFixedOrganization adds an empty organization with an id, a UUID, that
// configurations can be written against. The access tokens of its accounts are
// the same in every process: whoever knows the id and an account's name can
// make one.
func (e *Emulator) AddFixedOrganization(id string) *Organization {
	return e.add(&Organization{ID: id, fixed: true})
}

func (e *Emulator) add(o *Organization) *Organization {
	e.mu.Lock()
	defer e.mu.Unlock()
	o.emulator, o.key, o.moved = e, newKey(), e.now()
	e.orgs[o.ID] = o
	return o
}

// derive makes 16 bytes of a fixed organization's account.
func (o *Organization) derive(what, account string) []byte {
	sum := sha256.Sum256([]byte("bwemu\x00" + o.ID + "\x00" + what + "\x00" + account))
	return sum[:16]
}

// change runs edit under the lock and notes the time for sync.
func (o *Organization) change(edit func(now time.Time)) {
	o.emulator.mu.Lock()
	defer o.emulator.mu.Unlock()
	o.moved = o.emulator.now()
	edit(o.moved)
}

// A Project is a named set of secrets that machine accounts are given rights
// on.
type Project struct {
	ID string

	org     *Organization
	name    string
	created time.Time
	revised time.Time
	corrupt bool
}

// AddProject adds an empty project.
func (o *Organization) AddProject(name string) *Project {
	p := &Project{ID: newID(), org: o, name: name}
	o.change(func(now time.Time) {
		p.created, p.revised = now, now
		o.projects = append(o.projects, p)
	})
	return p
}

// Rename gives the project another name.
func (p *Project) Rename(name string) {
	p.org.change(func(now time.Time) { p.name, p.revised = name, now })
}

// Delete removes the project; its secrets stay, without it.
func (p *Project) Delete() {
	p.org.change(func(time.Time) {
		is := func(other *Project) bool { return other == p }
		p.org.projects = slices.DeleteFunc(p.org.projects, is)
		for _, s := range p.org.secrets {
			s.projects = slices.DeleteFunc(s.projects, is)
		}
	})
}

// Corrupt makes the server answer the project's name with a damaged ciphertext.
func (p *Project) Corrupt() { p.org.change(func(time.Time) { p.corrupt = true }) }

// A Secret has a name (its "key"), a value, a note, and belongs to any number
// of projects.
type Secret struct {
	ID string

	org      *Organization
	projects []*Project
	fields   [3]string // name, value, note
	corrupt  [3]bool
	created  time.Time
	revised  time.Time
}

// A Field is a part of a Secret that is encrypted on its own.
type Field int

// The fields, for Corrupt.
const (
	Name Field = iota
	Value
	Note
)

// AddSecret adds a secret to the projects. One without a project is seen by no
// machine account.
func (o *Organization) AddSecret(name, value, note string, projects ...*Project) *Secret {
	s := &Secret{ID: newID(), org: o, projects: projects, fields: [3]string{name, value, note}}
	o.change(func(now time.Time) {
		s.created, s.revised = now, now
		o.secrets = append(o.secrets, s)
		o.emulator.secrets[s.ID] = s
	})
	return s
}

// Rotate replaces the value.
func (s *Secret) Rotate(value string) { s.set(Value, value) }

// Rename replaces the name, which moves the revision date too.
func (s *Secret) Rename(name string) { s.set(Name, name) }

// Annotate replaces the note.
func (s *Secret) Annotate(note string) { s.set(Note, note) }

// Corrupt makes the server answer the field with a damaged ciphertext, until
// the field is written again.
func (s *Secret) Corrupt(f Field) { s.org.change(func(time.Time) { s.corrupt[f] = true }) }

// Delete removes the secret.
func (s *Secret) Delete() {
	s.org.change(func(time.Time) {
		s.org.secrets = slices.DeleteFunc(s.org.secrets, func(other *Secret) bool { return other == s })
		delete(s.org.emulator.secrets, s.ID)
	})
}

func (s *Secret) set(f Field, text string) {
	s.org.change(func(now time.Time) {
		s.fields[f], s.corrupt[f], s.revised = text, false, now
	})
}

// sealed encrypts the field for the wire.
func (s *Secret) sealed(f Field) string {
	text := s.org.key.seal([]byte(s.fields[f]))
	if s.corrupt[f] {
		return flip(text)
	}
	return text
}
