package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
	"github.com/vaultspan/vaultspan/config"
)

// people makes what logs people in, or nil when no route is for them. The store
// is opened once and outlives reloads.
func (i *instance) people(ctx context.Context, p *parts) (*session.Manager, error) {
	if !p.config.HasPeople() {
		return nil, nil
	}
	if i.store == nil {
		store, err := openSessions(ctx, p.config.Sessions)
		if err != nil {
			return nil, err
		}
		i.store, i.storeAt = store, sessionsAt(p.config)
		if err := askSessionStore(ctx, store); err != nil { // it may come later, and bearer tokens do not wait for it
			i.logger.ErrorContext(ctx, "sessions cannot be kept: nobody can sign in, or not for long", "error", err.Error())
		}
	}
	return session.New(session.Setup{
		Config: p.config.Sessions, URL: publicURL(p.config), Hosts: p.config.SessionHosts(),
		Issuers: p.authenticator, Store: i.store, Logger: i.logger, Meter: i.meter, OnChange: i.sessionChanged,
	})
}

// leave closes what logged people in, without waiting for the refreshes that may be
// under way.
func (i *instance) leave(p *parts) {
	if p.sessions != nil {
		i.closing.Go(p.sessions.Close)
	}
}

// openSessions opens the store that a configuration names.
func openSessions(ctx context.Context, c session.Config) (session.Store, error) {
	if c.Redis != nil {
		return session.OpenRedis(c.Redis(), c.RedisCA)
	}
	return session.OpenSQLite(ctx, c.SQLite)
}

// askSessionStore says why a store cannot be used, or should not.
func askSessionStore(ctx context.Context, store session.Store) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return store.Sweep(ctx, time.Now())
}

// sessionChanged writes down that somebody logged in, or that a session ended.
func (i *instance) sessionChanged(c session.Change) {
	detail := "session " + c.Handle + " began"
	if c.Why != "" {
		detail = "session " + c.Handle + " ended: " + c.Why
	}
	i.log.Change(audit.Event{Code: "session", Issuer: c.Issuer, Subject: c.Subject, Detail: detail})
}

// sessionsAt is where a configuration keeps sessions.
func sessionsAt(cfg *config.Config) string {
	if cfg.Sessions.Redis != nil {
		return cfg.Sessions.Redis() + " " + cfg.Sessions.RedisCA
	}
	return cfg.Sessions.SQLite
}

// checkSessions asks the Redis that a configuration keeps sessions in. A file is
// made by the gateway, as its own user.
func checkSessions(ctx context.Context, cfg *config.Config) error {
	if !cfg.HasPeople() || cfg.Sessions.Redis == nil {
		return nil
	}
	store, err := openSessions(ctx, cfg.Sessions)
	if err == nil {
		err = errors.Join(askSessionStore(ctx, store), store.Close())
	}
	if err != nil {
		return cfg.Problem("sessions.redis", "cannot be used: "+err.Error())
	}
	return nil
}

// printRedirects lists what to register at the issuers that people log in at.
func printRedirects(w io.Writer, cfg *config.Config) {
	if !cfg.HasPeople() {
		return
	}
	logins := slices.DeleteFunc(slices.Clone(cfg.Issuers), func(i authn.IssuerConfig) bool { return i.Login.ClientID == "" })
	for _, issuer := range logins {
		callbacks, signedOut := session.RedirectURIs(publicURL(cfg), cfg.SessionHosts(), issuer.Name, len(logins) == 1)
		fmt.Fprintf(w, "register for client %s of issuer %s:\n", issuer.Login.ClientID, issuer.Name)
		for _, uri := range callbacks {
			fmt.Fprintln(w, "  redirect URI             ", uri)
		}
		for _, uri := range signedOut {
			fmt.Fprintln(w, "  post-logout redirect URI ", uri)
		}
		fmt.Fprintln(w, "  back-channel logout URI  ", publicURL(cfg).String()+"/.vaultspan/backchannel-logout")
	}
}
