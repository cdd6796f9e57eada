package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Keygen makes an Ed25519 signing key and its public key in the form of
// golang.org/x/mod/sumdb/note. The name becomes the origin of the log: choose
// one that no other log has, such as "gw.example.com/audit".
func Keygen(name string) (private, public string, err error) {
	private, public, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", fmt.Errorf("make audit key: %w", err)
	}
	if _, err := note.NewVerifier(public); err != nil {
		return "", "", fmt.Errorf("make audit key: %q cannot name a key: no spaces and no +", name)
	}
	return private, public, nil
}

// PublicKey is the public key of a signing key made by Keygen.
func PublicKey(private string) (string, error) {
	_, public, err := parseKey(private)
	return public, err
}

// parseKey never quotes the key: not even the part that is wrong.
func parseKey(private string) (note.Signer, string, error) {
	bad := errors.New(`is not a signing key as "vaultspan audit keygen" writes it`)
	private = strings.TrimSpace(private)
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, "", bad
	}
	// PRIVATE+KEY+name+hash+base64, where only the base64 may hold a further +
	parts := strings.SplitN(private, "+", 5)
	if len(parts) != 5 {
		return nil, "", bad
	}
	key, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(key) != 1+ed25519.SeedSize {
		return nil, "", bad
	}
	pub := ed25519.NewKeyFromSeed(key[1:]).Public().(ed25519.PublicKey)
	public, err := note.NewEd25519VerifierKey(signer.Name(), pub)
	if err != nil {
		return nil, "", bad
	}
	return signer, public, nil
}
