package vault

import (
	"context"
	"crypto/tls"
	"net/http"
)

// worn is one version of a secret made ready for one binding. Its parts are
// funcs, so that no way of printing what holds one shows a value.
type worn struct {
	// put puts the credential on a request to the destination, and leaves it as
	// it was on an error: errReserved, a *LeaseError whose reason holds for the
	// request, or one that quotes nothing of the value.
	put func(*http.Request) error
	// conceal takes out of a response's header what would hand the credential on,
	// or is nil.
	conceal func(http.Header)
	// present shows the certificate that is the credential, or is nil.
	present func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// values are what the upstream must not send back: the parts of the secret
	// that the binding takes, not what stands around them. Nil: it never has any,
	// as with a key that only signs.
	values func() []string

	// mint is of a kind that wears a token in the secret's stead, and then there
	// is no put: it exchanges the secret, at endpoint, through a client that does
	// so once. One call at a time; those of equal shape are one.
	mint     func(context.Context, *http.Client) (granted, error)
	endpoint Destination
	shape    string
}

// wear makes a secret's value ready. Its error never quotes the value.
func (i Injection) wear(secret string) (worn, error) {
	switch {
	case i.SigV4 != (SigV4{}):
		return i.SigV4.wear(secret)
	case i.mtls:
		return wearCertificate(secret)
	case i.Path != "":
		return wearPath(i.Path, secret)
	case i.OAuth2 != nil || i.GitHubApp != nil:
		return i.wearMinting(secret)
	}
	composed, err := i.compose(secret)
	if err != nil {
		return worn{}, err
	}
	p := i.place()
	return worn{
		put: func(r *http.Request) error {
			if _, found := cutQuery(r.URL.RawQuery, p.query); found {
				return errReserved
			}
			p.put(r, composed)
			return nil
		},
		values: func() []string { return i.taken(secret) },
	}, nil
}

// taken are the parts of a secret that the formats of an injection take, but for
// a user name beside a password: it is no secret, and pages show it.
func (i Injection) taken(secret string) []string {
	c, err := open(secret)
	if err != nil {
		return nil
	}
	defer c.close()
	formats := []string{i.Format}
	switch {
	case i.Basic != Basic{}:
		b := i.Basic.complete()
		formats = []string{b.Password}
		if len(parseFormat(b.Password).names) == 0 {
			formats = []string{b.User}
		}
	case i.Path != "":
		formats = []string{i.Path}
	case i.bearer || i.Format == "":
		formats = []string{placeholder}
	}
	var parts []string
	for _, format := range formats {
		for _, name := range parseFormat(format).names {
			if part, err := c.value(name, func(string) error { return nil }); err == nil {
				parts = append(parts, part)
			}
		}
	}
	return parts
}
