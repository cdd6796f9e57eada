package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"

	"github.com/vaultspan/vaultspan/authn"
)

// logout ends the session of this browser, and then the login at the provider.
// It wants a POST of our own page: an image on another site must not log people
// out.
func (m *Manager) logout(w http.ResponseWriter, r *http.Request) {
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		m.fail(w, r, crossSite)
		return
	}
	setCookie(w, cookieName, "", 0)
	setCookie(w, roundsCookie, "", 0) // nobody presses our button in a loop: see circling
	if _, _, ambiguous := sessionCookie(r.Header["Cookie"]); ambiguous {
		m.endAll(w, r) // whichever is this browser's
		return
	}
	key, ok := sessionKey(r)
	if !ok {
		redirect(w, signedOutPath)
		return
	}
	l, err := m.read(r.Context(), key)
	if refusal, is := errors.AsType[*authn.Error](err); is && refusal.Reason == authn.NoStore {
		m.failed(w, r, err)
		return
	}
	if err != nil || l.Ended != "" {
		redirect(w, signedOutPath)
		return
	}
	if _, err := m.end(r.Context(), Filter{Handle: l.Handle}, WhyLogout); err != nil {
		m.failed(w, r, err)
		return
	}
	to := signedOutPath
	if client := m.client(l.Issuer); client != nil {
		if there := client.EndSession(l.tokens.ID(), m.origins[visitOf(r).host]+signedOutPath); there != "" {
			to = there
		}
	}
	redirect(w, to)
}

// endAll ends the sessions of all the session cookies on a request.
func (m *Manager) endAll(w http.ResponseWriter, r *http.Request) {
	for _, c := range cookies(r.Header["Cookie"]) {
		key, ok := parseID(c.value)
		if !ok || !strings.EqualFold(c.name, cookieName) {
			continue
		}
		l, err := m.read(r.Context(), key)
		if err == nil {
			_, err = m.end(r.Context(), Filter{Handle: l.Handle}, WhyLogout)
		}
		if refusal, is := errors.AsType[*authn.Error](err); is && refusal.Reason == authn.NoStore {
			m.failed(w, r, err)
			return
		}
	}
	redirect(w, signedOutPath)
}

// backChannel is for providers: OpenID Connect Back-Channel Logout 1.0. What a
// logout token says happens on every node, as soon as each looks.
func (m *Manager) backChannel(w http.ResponseWriter, r *http.Request) {
	refused := func(status int, err error) {
		m.logger.WarnContext(r.Context(), "a back-channel logout was refused", "error", err.Error())
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write([]byte(`{"error":"invalid_request"}` + "\n"))
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		refused(http.StatusBadRequest, errors.New("not a form"))
		return
	}
	tokens := r.PostForm["logout_token"]
	if len(tokens) != 1 {
		refused(http.StatusBadRequest, errors.New("not one logout_token"))
		return
	}
	l, err := m.issuers.Logout(r.Context(), tokens[0])
	if err != nil {
		refused(http.StatusBadRequest, err)
		return
	}
	jti := "jti " + l.Issuer + " " + l.ID
	if fresh, err := m.once(r.Context(), jti, l.Until); err != nil {
		refused(http.StatusServiceUnavailable, err)
		return
	} else if !fresh {
		refused(http.StatusBadRequest, errors.New("a logout token that came before"))
		return
	}
	n, err := m.end(r.Context(), Filter{Issuer: l.Issuer, Subject: l.Subject, SessionID: l.SessionID}, WhyBackChannel)
	if err != nil {
		m.notYet(r.Context(), jti) // a provider that tries again is right to
		refused(http.StatusServiceUnavailable, err)
		return
	}
	m.logger.InfoContext(r.Context(), "back-channel logout", "issuer", l.Issuer, "sessions", n)
	w.WriteHeader(http.StatusOK)
}

// notYet takes back what once said of a thing that then failed.
func (m *Manager) notYet(ctx context.Context, what string) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*budget)
	defer cancel()
	if err := m.store.Forget(within, sha256.Sum256([]byte(what))); err != nil {
		m.logger.WarnContext(ctx, "a logout that failed cannot be tried again", "error", err.Error())
	}
}

// Revoke ends the sessions that match, for an operator. An empty filter matches
// none: nobody logs everybody out by leaving something out.
func (m *Manager) Revoke(ctx context.Context, f Filter) (int, error) {
	if f == (Filter{}) {
		return 0, errors.New("say whose sessions: by id, subject or issuer")
	}
	return m.end(ctx, f, WhyRevoked)
}

// Listed is a session as an operator sees it. It holds nothing that lets anybody
// in.
type Listed struct {
	ID      string `json:"id"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Created string `json:"created"`
	Used    string `json:"used"`
	Ends    string `json:"ends"`
}

// List returns the live sessions that match, for an operator.
func (m *Manager) List(ctx context.Context, f Filter) ([]Listed, error) {
	records, err := m.store.List(ctx, f)
	if err != nil {
		return nil, unreadable(err)
	}
	all := []Listed{}
	now := m.now()
	for _, r := range records {
		if !now.Before(r.Ends) || now.Sub(r.Used) >= m.idle {
			continue
		}
		const layout = "2006-01-02T15:04:05Z"
		all = append(all, Listed{
			ID: r.Handle, Issuer: r.Issuer, Subject: r.Subject,
			Created: r.Created.UTC().Format(layout), Used: r.Used.UTC().Format(layout), Ends: r.Ends.UTC().Format(layout),
		})
	}
	return all, nil
}
