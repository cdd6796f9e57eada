package devidp

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// endSession is OpenID Connect RP-Initiated Logout 1.0: it ends the browser's
// sign-in, tells every client that got tokens of it, and leads back to the
// client if the client registered where to. All of them, also the one that
// asks: it may have more sessions of this sign-in than the one it ended.
//
// Whoever cannot show with an id_token_hint that they know who is signed in is
// made to ask that person first (section 2).
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	request, checked, err := p.parseLogout(r)
	if err != nil {
		p.message(w, http.StatusBadRequest, "Signing out did not work", "The application that sent you here made a mistake: "+err.Error()+".")
		return
	}
	in, present := p.storage.browser(p.cookieOf(r))
	sid, subject := "", ""
	if hint := checked.IDTokenHintClaims; hint != nil {
		sid, subject = hint.SessionID, hint.Subject
	}
	confirmed := r.Method == http.MethodPost && r.PostFormValue("confirm") == "yes" && new(http.CrossOriginProtection).Check(r) == nil
	if present && subject != in.person && !confirmed {
		p.show(w, http.StatusOK, "logout", map[string]any{"Person": p.people[in.person], "Request": request})
		return
	}
	over := p.storage.end(func(s *signIn) bool {
		return sid != "" && s.sid == sid && s.person == subject || present && s.sid == in.sid
	})
	p.setCookie(w, "")
	if err := p.tell(r.Context(), over); err != nil {
		slog.WarnContext(r.Context(), "a client was not told of a logout", "error", err.Error())
	}
	if request.PostLogoutRedirectURI == "" {
		p.message(w, http.StatusOK, "You are signed out", "You can close this page.")
		return
	}
	http.Redirect(w, r, checked.RedirectURI, http.StatusSeeOther)
}

// parseLogout reads a logout request. One that is to lead back must say for which
// client: without, it would be an open redirect (section 3).
func (p *Provider) parseLogout(r *http.Request) (*oidc.EndSessionRequest, *op.EndSessionRequest, error) {
	request, err := op.ParseEndSessionRequest(r, p.flows.Decoder())
	if err != nil {
		return nil, nil, errors.New("its request is not one")
	}
	asked := *request // the library writes into it
	checked, err := op.ValidateEndSessionRequest(op.ContextWithIssuer(r.Context(), p.cfg.Issuer), request, p.flows)
	if refusal, ok := errors.AsType[*oidc.Error](err); ok && refusal.ErrorType == oidc.InvalidRequest {
		return nil, nil, errors.New(refusal.Description)
	}
	if err != nil {
		return nil, nil, errors.New("no client has this client_id")
	}
	if asked.PostLogoutRedirectURI != "" && checked.ClientID == "" {
		return nil, nil, errors.New("post_logout_redirect_uri without id_token_hint or client_id")
	}
	return &asked, checked, nil
}
