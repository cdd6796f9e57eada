package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkpoint is what a signed note says: C2SP tlog-checkpoint, without
// extension lines.
type checkpoint struct {
	size uint64
	root tlog.Hash
	note string // as it was signed
}

// signTree makes the note of a checkpoint over t.
func signTree(signer note.Signer, t *tree) (string, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), t.size, t.root())
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return "", fmt.Errorf("sign checkpoint: %w", err)
	}
	return string(signed), nil
}

// openCheckpoint verifies a note against our key. Other signatures on it, such
// as a witness's, are none of our business.
func openCheckpoint(signed string, v note.Verifier) (checkpoint, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	if err != nil {
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			return checkpoint{}, fmt.Errorf("checkpoint is not signed by key %s: is it another log's key?", v.Name())
		}
		return checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	for _, s := range n.Sigs {
		// base64 has several spellings of the same bytes; ours is the one.
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return checkpoint{}, errors.New("checkpoint: malformed signature")
		}
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != v.Name() {
		return checkpoint{}, fmt.Errorf("checkpoint is not one of log %s", v.Name())
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	root, errRoot := tlog.ParseHash(lines[2])
	if err != nil || errRoot != nil || n.Text != fmt.Sprintf("%s\n%d\n%s\n", v.Name(), size, root) {
		return checkpoint{}, errors.New("checkpoint is malformed")
	}
	return checkpoint{size, root, signed}, nil
}

// readCheckpoints reads the notes of a file, one after another. A note ends
// where its last signature line does; blank lines between notes are skipped.
func readCheckpoints(r io.Reader, v note.Verifier) ([]checkpoint, error) {
	const most = 64 << 20
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	if len(data) > most {
		return nil, errors.New("read checkpoints: larger than 64MiB")
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n') // pasted
	}
	var notes []string
	var text strings.Builder
	signed := false // inside the signature lines of a note
	for line := range strings.Lines(string(data)) {
		isSignature := strings.HasPrefix(line, "— ")
		if signed && !isSignature {
			notes = append(notes, text.String())
			text.Reset()
		}
		signed = isSignature
		if text.Len() > 0 || line != "\n" {
			text.WriteString(line)
		}
	}
	if text.Len() > 0 {
		notes = append(notes, text.String())
	}
	var out []checkpoint
	for i, n := range notes {
		c, err := openCheckpoint(n, v)
		if err != nil {
			return nil, fmt.Errorf("note %d: %w", i+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("read checkpoints: no signed note")
	}
	return out, nil
}
