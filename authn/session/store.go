package session

import (
	"context"
	"errors"
	"time"
)

// Store keeps sessions, for one node or for many. All times are the caller's.
// Every method may be called at once from many goroutines and nodes.
type Store interface {
	// Add keeps a new session.
	Add(ctx context.Context, r Record) error
	// Find returns a session, ended or not, or errUnknown.
	Find(ctx context.Context, k Key) (Record, error)
	// Touch notes that a session was used. To lose that is no harm.
	Touch(ctx context.Context, k Key, used time.Time) error
	// Lease says whether the caller may refresh a live session until then: nobody
	// else does, and it is still of this version.
	Lease(ctx context.Context, k Key, version int64, now, until time.Time) (bool, error)
	// Replace writes a live session's Refresh and Sealed, adds one to its version
	// and takes the lease off, if it still is of r's version.
	Replace(ctx context.Context, r Record) (bool, error)
	// End ends the live sessions that match, and returns them as they were: with an
	// error, those that it ended nonetheless.
	End(ctx context.Context, f Filter, why string) ([]Record, error)
	// List returns the live sessions that match, the newest first.
	List(ctx context.Context, f Filter) ([]Record, error)
	// Once says whether it is asked for this key for the first time until then.
	Once(ctx context.Context, k Key, now, until time.Time) (bool, error)
	// Forget takes back a yes of Once: what it was asked for did not happen.
	Forget(ctx context.Context, k Key) error
	// Sweep forgets what is over by now, and says what makes the store unfit.
	Sweep(ctx context.Context, now time.Time) error
	// Close lets go of the store.
	Close() error
}

// Key is how a store knows a session: the SHA-256 of what the cookie holds.
type Key [32]byte

// Record is one session as a store keeps it.
type Record struct {
	Key    Key
	Handle string // how people name it: a keyed hash of Key

	Issuer    string // its name in the configuration
	Subject   string
	SessionID string // sid; may be empty

	Created time.Time
	Used    time.Time // about; written at most once a minute
	Ends    time.Time // in any case
	Refresh time.Time // when the issuer is to be asked; zero when it cannot be

	Lease   time.Time // until when somebody is asking it; zero when nobody is
	Version int64     // of Refresh and Sealed
	Ended   string    // why it is over; empty while it is not

	Sealed []byte // the rest; empty once it is over
}

// Filter says which sessions are meant: those that agree with all that is not
// empty. The zero Filter means all of them.
type Filter struct {
	Handle    string
	Issuer    string
	Subject   string
	SessionID string
}

// errUnknown is the answer for a session that a store does not have.
var errUnknown = errors.New("no such session")

// Why a session ended.
const (
	WhyLogout      = "logout"              // the person said so
	WhyBackChannel = "back-channel logout" // the provider said so
	WhyRevoked     = "revoked"             // an operator said so
	WhyRefused     = "refresh refused"     // the provider did not go on with it
	WhyReplaced    = "replaced"            // another login took its place
	WhyIdle        = "idle"                // nobody used it
)
