package devidp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	tellTime  = 3 * time.Second // for a client to answer
	tokenTime = 2 * time.Minute // that a logout token is good for
)

// tell sends a logout token for every sign-in that ended to every client that
// got tokens of it and has a BackChannelLogoutURI, all at once (OpenID Connect
// Back-Channel Logout 1.0 section 2.5).
func (p *Provider) tell(ctx context.Context, over []ended) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, e := range over {
		for _, id := range e.clients {
			to := p.clients[id].BackChannelLogoutURI
			if to == "" {
				continue
			}
			wg.Go(func() {
				if err := p.tellOne(ctx, to, id, e); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = errors.Join(failed, fmt.Errorf("back-channel logout of client %s: %w", id, err))
				}
			})
		}
	}
	wg.Wait()
	return failed
}

func (p *Provider) tellOne(ctx context.Context, to, client string, e ended) error {
	token, err := p.logoutToken(client, e)
	if err != nil {
		return err
	}
	form := url.Values{"logout_token": {token}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := p.outward.Do(r)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNoContent {
		return errors.New("it answers " + answer.Status)
	}
	return nil
}

// logoutToken is that of section 2.4.
func (p *Provider) logoutToken(client string, e ended) (string, error) {
	now := time.Now()
	return p.Mint(map[string]any{
		"iss": p.cfg.Issuer, "sub": e.person, "sid": e.sid, "aud": client,
		"iat": now.Unix(), "exp": now.Add(tokenTime).Unix(), "jti": rand.Text(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}, map[string]any{"typ": "logout+jwt"})
}

// newOutward is how clients are told: on loopback and nowhere else, whatever a
// name resolves to, and not where they redirect to.
func newOutward(cfg Config) *http.Client {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		if !loopback(address) {
			return errors.New("not on loopback")
		}
		return nil
	}}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: cfg.RootCAs}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkBackChannel wants a URI to be one that tell may call.
func checkBackChannel(c Client) error {
	if c.BackChannelLogoutURI == "" {
		return nil
	}
	u, err := url.Parse(c.BackChannelLogoutURI)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !loopback(u.Host) || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("client %s: the back-channel logout URI must be http or https on loopback", c.ID)
	}
	return nil
}
