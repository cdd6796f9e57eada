package audit

import (
	"fmt"
	"io"
	"time"
)

// VerifyOptions says which log to verify, and against what.
type VerifyOptions struct {
	// Dir is the directory, or a copy of it. It may be in use.
	Dir string
	// PublicKey is the public key of Keygen, obtained apart from Dir.
	PublicKey string
	// Since holds checkpoints kept elsewhere, as signed notes one after another.
	// Without any, a log cut back to an older state cannot be told from one that
	// is that young.
	Since io.Reader
}

// Report is what Verify found, up to the damage if there is any.
type Report struct {
	Segments    int
	Bytes       int64
	Records     uint64
	Intents     uint64
	Outcomes    uint64 // with NotSent and Unknown
	NotSent     uint64 // outcomes with code not-sent
	Unknown     uint64 // outcomes with code outcome-unknown
	Refusals    uint64 // requests, not records: aggregates count in full
	Changes     uint64
	Checkpoints uint64
	First, Last time.Time // of the first and the last record

	// Head is the newest checkpoint in the log: keep it for Since.
	Head string
	// Unsigned is the number of records behind it. Of a log that was closed it
	// is 0; of one in use, or after a crash, they are the last second's.
	Unsigned uint64
	// Orphans are attempts without an outcome: in flight, or open at a crash
	// that no start has followed.
	Orphans []string
	// Torn is the length of an unfinished last line.
	Torn int64
	// Ignored is the length of what failed writes left behind sealed segments.
	Ignored int64
}

// The ways in which a log can be damaged.
const (
	Edited    = "edited"    // bytes were changed
	Deleted   = "deleted"   // records are missing, with others after them
	Inserted  = "inserted"  // records were added
	Reordered = "reordered" // records changed places
	Truncated = "truncated" // records that a checkpoint signs are missing at the end
	Replaced  = "replaced"  // the log is another one than a checkpoint signs: rolled back and written on, or forged
	Unmatched = "unmatched" // intents and outcomes do not match, although the chain is whole
)

// Damage is the first place where a log is not what was written.
type Damage struct {
	What   string
	File   string // within the directory
	Line   int    // from 1; 0 for the file as a whole
	Seq    uint64 // of the record concerned, or the one that should be here
	Detail string
}

func (d *Damage) Error() string {
	place := d.File
	if d.Line > 0 {
		place = fmt.Sprintf("%s:%d", d.File, d.Line)
	}
	return fmt.Sprintf("%s: record %d: %s: %s", place, d.Seq, d.What, d.Detail)
}
