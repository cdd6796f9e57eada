package vault

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// This file signs a body that comes in signed chunks (aws-chunked): each
// signature covers the one before it, and the first that of the request. So a
// caller's are all wrong once the request is signed with other keys.

const (
	// maxChunk is the largest chunk: its signature stands before it, so it is
	// held. SDKs make chunks of 64 KiB to 1 MiB.
	maxChunk = 16 << 20
	// maxChunkHead and maxTrailer bound what stands around the chunks.
	maxChunkHead = 128
	maxTrailer   = 8 << 10
)

// resign is body with every signature in it made anew, each as long as it was.
func (s *signing) resign(body io.ReadCloser, seed string, trailer bool, at time.Time) io.ReadCloser {
	date := at.Format("20060102")
	key := []byte("AWS4" + s.credentials.SecretAccessKey)
	for _, part := range []string{date, s.Region, s.Service, "aws4_request"} {
		key = mac(key, part)
	}
	return &chunks{
		Closer: body, source: bufio.NewReader(body), trailer: trailer, key: key, before: seed,
		scope: at.Format("20060102T150405Z") + "\n" + strings.Join([]string{date, s.Region, s.Service, "aws4_request"}, "/"),
	}
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, message)
	return h.Sum(nil)
}

// chunks reads one chunk at a time.
type chunks struct {
	io.Closer
	source  *bufio.Reader
	trailer bool
	key     []byte
	scope   string // the time, and what the key is of
	before  string // the signature before

	held  bytes.Buffer // the chunk under way, as it goes out: it grows with what comes, not with what is announced
	ready []byte       // what is left of it
	err   error        // how it ends
}

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if c.err = c.next(); c.err != nil && c.err != io.EOF {
			return 0, c.err
		}
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

const chunkSignature = ";chunk-signature="

// next makes a chunk ready. It is io.EOF with the last.
func (c *chunks) next() error {
	digits, size, err := c.head()
	if err != nil {
		return err
	}
	if size == 0 {
		return c.last(digits)
	}
	at := c.begin(digits)
	start := c.held.Len()
	if _, err := io.CopyN(&c.held, c.source, int64(size)+2); err != nil {
		return broken(err)
	}
	whole := c.held.Bytes()
	data, ok := bytes.CutSuffix(whole[start:], []byte("\r\n"))
	if !ok {
		return errChunks
	}
	copy(whole[at:], c.sign("AWS4-HMAC-SHA256-PAYLOAD", hashOf(nil), hashOf(data)))
	c.ready = whole
	return nil
}

// begin writes what stands before a chunk, with room for a signature, and says
// where that is.
func (c *chunks) begin(digits string) (at int) {
	c.held.Reset()
	c.held.WriteString(digits + chunkSignature)
	at = c.held.Len()
	c.held.WriteString(strings.Repeat("0", 2*sha256.Size) + "\r\n")
	return at
}

// head reads what stands before a chunk: its size, and a signature that nobody
// looks at.
func (c *chunks) head() (digits string, size int, err error) {
	line, err := c.line(maxChunkHead)
	if err != nil {
		return "", 0, err
	}
	digits, signature, ok := strings.Cut(line, chunkSignature)
	n, err := strconv.ParseUint(digits, 16, 31)
	if !ok || err != nil || !isHash(signature) {
		return "", 0, errChunks
	}
	if n > maxChunk {
		return "", 0, &LeaseError{Reason: TooLarge, Err: errors.New("a signed chunk is larger than 16 MiB")}
	}
	return digits, int(n), nil
}

// line reads up to the next CRLF, within limit bytes.
func (c *chunks) line(limit int) (string, error) {
	var line []byte
	for len(line) < limit {
		b, err := c.source.ReadByte()
		if err != nil {
			return "", broken(err)
		}
		if line = append(line, b); bytes.HasSuffix(line, []byte("\r\n")) {
			return string(line[:len(line)-2]), nil
		}
	}
	return "", errChunks
}

// last makes the end ready: the empty chunk, and the trailer, which has a
// signature of its own.
func (c *chunks) last(digits string) error {
	rest, err := io.ReadAll(io.LimitReader(c.source, maxTrailer+1))
	switch {
	case err != nil:
		return err
	case len(rest) > maxTrailer, !c.trailer && string(rest) != "\r\n":
		return errChunks
	}
	at := c.begin(digits)
	copy(c.held.Bytes()[at:], c.sign("AWS4-HMAC-SHA256-PAYLOAD", hashOf(nil), hashOf(nil)))
	if c.trailer {
		if err := c.signTrailer(rest); err != nil {
			return err
		}
	}
	c.held.Write(rest)
	c.ready = c.held.Bytes()
	return io.EOF
}

const trailerSignature = "x-amz-trailer-signature:"

// signTrailer writes the signature of a trailer into it. What ends a line, and
// whether an empty one stands before the signature, is the writer's taste.
func (c *chunks) signTrailer(trailer []byte) error {
	fields, signature, ok := bytes.Cut(trailer, []byte(trailerSignature))
	if !ok || len(signature) < 2*sha256.Size || !isHash(string(signature[:2*sha256.Size])) || len(bytes.TrimSpace(signature[2*sha256.Size:])) > 0 {
		return errChunks
	}
	var signed strings.Builder
	for line := range strings.SplitSeq(string(fields), "\n") {
		if line = strings.TrimRight(line, "\r"); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return errChunks
		}
		signed.WriteString(strings.ToLower(name) + ":" + strings.TrimSpace(value) + "\n")
	}
	copy(signature, c.sign("AWS4-HMAC-SHA256-TRAILER", hashOf([]byte(signed.String()))))
	return nil
}

// sign is the next signature, over what the one before covers.
func (c *chunks) sign(algorithm string, hashes ...string) string {
	message := append([]string{algorithm, c.scope, c.before}, hashes...)
	c.before = hex.EncodeToString(mac(c.key, strings.Join(message, "\n")))
	return c.before
}

var errChunks = &LeaseError{Reason: Unsignable, Err: errors.New("the body is not in signed chunks, as X-Amz-Content-Sha256 says")}

// broken is how a body that ends inside a chunk ends.
func broken(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errChunks
	}
	return err
}
