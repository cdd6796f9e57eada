package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// SigV4 signs requests as AWS wants it, and servers that speak as it does. The
// secret is a JSON object with access_key_id, secret_access_key and, for
// temporary credentials, session_token. A caller signs with any keys of its
// own: its signature is taken off, and so a URL signed beforehand is refused.
type SigV4 struct {
	// Region is the region that requests are signed for, such as eu-central-1.
	// Required.
	Region string `yaml:"region"`
	// Service is the service's name in signatures, such as s3, dynamodb or
	// execute-api. Required.
	Service string `yaml:"service"`
}

// Header fields of a signed request.
const (
	amzDate    = "X-Amz-Date"
	amzToken   = "X-Amz-Security-Token"
	amzSession = "X-Amz-S3session-Token" // S3 Express: a credential by itself
	amzPayload = "X-Amz-Content-Sha256"
)

// sigV4Places are the fields in which a caller's own credential would travel.
var sigV4Places = []string{"Authorization", amzDate, amzToken, amzSession}

// presigned are the parameters that make a URL a signed request by itself
// (AWS4, and AWSAccessKeyId of the version before it): a server that finds both
// them and a signed header is free to choose.
var presigned = []string{
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Security-Token", "X-Amz-Signature",
	"X-Amz-SignedHeaders", "X-Amz-S3session-Token", "AWSAccessKeyId",
}

// maxHashed is the largest body that is held to be hashed, where nobody says
// what its hash is.
const maxHashed = 1 << 20

// signing is a SigV4 with the credentials of one version of a secret. Only
// funcs hold one.
type signing struct {
	SigV4
	credentials aws.Credentials
	signer      *v4.Signer // knows the key of the day; never shared: it tells versions apart by their id alone
}

func (s SigV4) wear(secret string) (worn, error) {
	c, err := open(secret)
	if err != nil {
		return worn{}, err
	}
	defer c.close()
	sign := &signing{SigV4: s, signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = s.isS3() })}
	if sign.credentials.AccessKeyID, err = c.value("access_key_id", accessKeyID); err != nil {
		return worn{}, err
	}
	if sign.credentials.SecretAccessKey, err = c.value("secret_access_key", plainText); err != nil {
		return worn{}, err
	}
	w := worn{put: sign.put} // the key signs: no upstream ever has it
	if _, temporary := c.fields["session_token"]; temporary {
		if sign.credentials.SessionToken, err = c.value("session_token", fieldValue); err != nil {
			return worn{}, err
		}
		w.values = func() []string { return []string{sign.credentials.SessionToken} }
	}
	return w, nil
}

// accessKeyID is text that stands between the delimiters of a signature's
// header without being one.
func accessKeyID(s string) error {
	if strings.ContainsAny(s, " /,=") {
		return errors.New("has a space, slash, comma or equals sign, which ends an access key id")
	}
	return fieldValue(s)
}

// isS3 says whether a service reads paths and payloads as S3 does: S3 itself,
// its Outposts, its Object Lambda, its Express.
func (s SigV4) isS3() bool { return strings.HasPrefix(s.Service, "s3") }

// put signs r, and removes what else could be taken for a signature. What it
// signs is a draft: the request itself changes in its header alone, so that the
// query travels as it came. It may read the body, and may replace it.
func (s *signing) put(r *http.Request) error {
	if reserves(r.URL.RawQuery, presigned) {
		return errReserved
	}
	p, err := s.payload(r)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	draft := s.draft(r)
	draft.Header[amzPayload] = []string{p.hash}
	if err := s.signer.SignHTTP(r.Context(), s.credentials, draft, p.hash, s.Service, s.Region, now); err != nil {
		return errors.New("cannot be signed") // what it would say is the signer's
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	removeDisguised(r.Header)
	for _, name := range append([]string{amzPayload}, sigV4Places...) {
		removeAliases(r.Header, name)
		removeAliases(r.Trailer, name)
		if values, ok := draft.Header[name]; ok {
			r.Header[name] = values
		}
	}
	r.Host = draft.Host
	if p.chunked {
		r.Body = s.resign(r.Body, signatureOf(draft.Header), p.trailer, now)
	}
	return nil
}

// draft is what is signed of r: the method, the target, the host, the fields
// that AWS demands, and those that say what the body is. Nothing on the way
// changes these; other fields may be added or folded by whoever sends r.
func (s *signing) draft(r *http.Request) *http.Request {
	u := &url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path, RawPath: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery}
	if s.isS3() { // it decodes the path, and encodes it anew by its own rules
		u.RawPath = percentEncoded(u.Path, "/")
	}
	draft := &http.Request{Method: r.Method, URL: u, Host: r.Host, Header: make(http.Header)}
	for name, values := range r.Header {
		switch {
		case slices.Contains(sigV4Places, name):
		case name == "Content-Type", name == "Content-Md5", strings.HasPrefix(name, "X-Amz-"):
			draft.Header[name] = values
		}
	}
	return draft
}

// removeDisguised takes fields off h that some server would take for one of
// AWS's, and that are not signed: X_Amz_Acl.
func removeDisguised(h http.Header) {
	for name := range h {
		if folded := fold(name); strings.HasPrefix(folded, "x-amz-") && !strings.EqualFold(folded, name) {
			delete(h, name)
		}
	}
}

// signatureOf is what a signed header ends with.
func signatureOf(h http.Header) string {
	_, signature, _ := strings.Cut(h["Authorization"][0], "Signature=")
	return signature
}

// payload is what a signature says of the body.
type payload struct {
	hash             string // or the word that stands for one
	chunked, trailer bool   // each chunk of it is signed, and what follows the last
}

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	signedChunks    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
)

// payload is what the caller says of its body, for the upstream to verify, or
// what can be said of a body that nobody has said anything of.
func (s *signing) payload(r *http.Request) (payload, error) {
	empty := r.Body == nil || r.Body == http.NoBody
	switch stated := r.Header[amzPayload]; {
	case len(stated) > 1:
		return payload{}, &LeaseError{Reason: Unsignable, Err: errors.New("X-Amz-Content-Sha256 is there twice")}
	case len(stated) == 0 && empty:
		return payload{hash: hashOf(nil)}, nil
	case len(stated) == 0 && s.isS3():
		return payload{hash: unsignedPayload}, nil
	case len(stated) == 0:
		return hashed(r)
	case isHash(stated[0]), stated[0] == unsignedPayload, stated[0] == unsignedTrailer:
		return payload{hash: stated[0]}, nil
	case (stated[0] == signedChunks || stated[0] == signedTrailer) && !empty:
		return payload{stated[0], true, stated[0] == signedTrailer}, nil
	}
	return payload{}, &LeaseError{Reason: Unsignable, Err: errors.New("X-Amz-Content-Sha256 is neither a SHA-256 nor a word for a payload that can be signed anew")}
}

// hashed reads the body to hash it, and puts it back.
func hashed(r *http.Request) (payload, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxHashed+1))
	switch {
	case err != nil:
		return payload{}, err
	case len(body) > maxHashed:
		return payload{}, &LeaseError{Reason: TooLarge, Err: errors.New("a body without X-Amz-Content-Sha256 is held to be hashed, up to 1 MiB")}
	}
	r.Body.Close()
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return payload{hash: hashOf(body)}, nil
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// isHash says whether s is a SHA-256 as AWS writes it.
func isHash(s string) bool {
	return len(s) == 2*sha256.Size && !strings.ContainsFunc(s, func(r rune) bool { return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f') })
}

// check reports what is wrong with how requests are to be signed.
func (s SigV4) check(report func(path, problem string)) {
	for path, word := range map[string]string{"region": s.Region, "service": s.Service} {
		switch {
		case word == "":
			report("sigv4."+path, "is missing: signatures hold it, such as {region: eu-central-1, service: s3}")
		case strings.ContainsFunc(word, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }):
			report("sigv4."+path, "is not one: use lower-case letters, digits and -")
		}
	}
}
