// Package audit writes down what is about to happen before it happens, so that
// somebody who trusts neither the gateway's operator nor its disk can check the
// account later. It writes the log; [Verify] reads it, offline, with nothing
// but the public key.
//
// # On disk
//
// A directory (0700, one process at a time) holds:
//
//   - segments, named by the first record in them: 000000000001.jsonl. One JSON
//     object a line, in the field order of [Event]. Only the process that began
//     a segment writes to it, so a restart begins a new one;
//   - checkpoint: the newest signed checkpoint, replaced whole;
//   - lock: held while a process owns the directory;
//   - *.torn: what a recovery cut off (see below). Not part of the log.
//
// A record has seq, from 1 without a gap, and prev, the SHA-256 in hex of the
// previous line without its newline; the first record's prev is 64 zeros.
//
// A record of kind checkpoint with seq n+1 signs the n records before it: its
// note is a C2SP tlog-checkpoint (origin = the key's name; size n; root of the
// RFC 6962 tree whose leaves are the exact lines), an Ed25519 signed note. There
// is one per second of activity and one at Close, and losing one is losing a
// record. Once it is durable, a note over all the records up to it is published:
// put in the file checkpoint and handed to [Setup.OnCheckpoint]. Only what is
// durable is signed, so that two notes of one size never differ.
//
// Every segment begins with a checkpoint that also says what a reader needs to
// begin there: the tree's compact range, the attempts still open, and how many
// bytes of the segment before belong to the log (sealed). Its code says why it
// was begun: opened, rotated or write-failed.
//
// # Failure
//
// After a failed write or fsync nothing is known about what reached the disk,
// and Linux reports it once: the segment is sealed at its last durable byte, its
// descriptor closed, and the records in doubt are encoded again into a new one,
// which begins with code write-failed. Bytes past the seal are not part of the
// log; only that code permits them. When no segment can be begun either, every
// Intent is refused at once, outcomes and refusals are kept, and opening is
// tried again with back-off.
//
// After a crash, Open cuts a torn tail (kept in a .torn file, its length and
// SHA-256 in a change record), makes what it read durable again, and closes
// intents that have no outcome with code outcome-unknown. It never signs a log
// that contradicts a signature of its own: such a directory is refused.
//
// # What it trusts, what it refuses
//
// It trusts its process, the signing key, and an fsync that returned. Whoever
// can write the directory can still cut it back to an older state, or append to
// a log that no process holds; only a checkpoint kept elsewhere
// ([VerifyOptions.Since]) shows the first, and records that came back unsigned
// at a restart are counted in a change record for the second. A caller cannot
// choose seq, time or prev, nor break a line.
package audit
