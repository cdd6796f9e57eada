package telemetry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// pseudonym turns an identity into what spans may say of it.
type pseudonym struct {
	plain bool
	key   func() string // behind a func: printing a Telemetry must not show it
}

func newPseudonym(c Config) pseudonym {
	if c.PseudonymKey == nil {
		key := rand.Text()
		c.PseudonymKey = func() string { return key }
	}
	return pseudonym{plain: c.Identities == "plain", key: c.PseudonymKey}
}

// UserID is the user.id of an identity: equal for equal callers, and unless
// identities: plain is configured, of no use to find out who they are. The hash
// is keyed because subjects are few enough to try them all.
func (t *Telemetry) UserID(issuer, subject string) string {
	if t.pseudonym.plain {
		return issuer + "/" + subject
	}
	mac := hmac.New(sha256.New, []byte(t.pseudonym.key()))
	// The length keeps ("ab", "c") and ("a", "bc") apart.
	mac.Write(binary.BigEndian.AppendUint64([]byte("vaultspan user.id\x00"), uint64(len(issuer))))
	mac.Write([]byte(issuer))
	mac.Write([]byte(subject))
	return "u-" + hex.EncodeToString(mac.Sum(nil)[:12])
}
