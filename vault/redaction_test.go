package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// J26: no way of printing what holds a secret shows it.
func TestNothingPrintsASecret(t *testing.T) {
	a := newAccount()
	var changes []vault.Change
	a.put(personID(1), payments, "alice", "CANARY-alice-1")
	s := setup(a)
	s.Bindings = append(s.Bindings, bind(ownRef))
	s.OnChange = func(c vault.Change) { changes = append(changes, c) }
	v := open(t, s)
	l := lease(t, v, stripeRef)
	own := ownLease(t, v, "alice")
	v.Close() // printing takes no locks
	expired := (&vault.Lease{}).Authorize(request(t))
	_, notBound := v.Lease(t.Context(), "r", "prod/no/such")
	piece := l.Guard().Stream()
	piece.Scan([]byte("CANARY-st"), vault.Inside) // it waits for the rest
	frames := l.Guard().Frames()
	if _, _, err := frames.Scan([]byte("\x81\x0fCANARY-st")); err != nil {
		t.Fatal(err)
	}
	read := vault.Secret{Reveal: func() string { return "CANARY-read" }}

	held := []any{
		l, *l, &l, own, *own, v, s, s.Config, v.Status(), v.Problems(), changes, read, vault.Snapshot{Secrets: []vault.Secret{read}},
		l.Guard(), *l.Guard(), l.Guard().With(l.Guard()), piece, *piece, frames, *frames,
		struct{ lease *vault.Lease }{l}, struct{ lease vault.Lease }{*l}, struct{ Lease vault.Lease }{*l},
		map[string]any{"lease": l}, []vault.Lease{*l}, expired, notBound, fmt.Errorf("using %v: %w", l, notBound),
	}
	for _, inject := range kinds {
		l, err := worn(t, "CANARY-worn", inject)
		if err != nil {
			t.Fatal(err)
		}
		taken := request(t)
		taken.URL.RawQuery = "key=mine"
		held = append(held, l, *l, l.Authorize(taken))
		_, err = worn(t, `{"CANARY": "CANARY"}`, inject)
		held = append(held, err)
	}
	certificate, key := identity(t, "x", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if l, err := worn(t, certificate+key, vault.MTLS()); err != nil {
		t.Fatal(err)
	} else {
		held = append(held, l, *l)
	}
	if l, err := worn(t, "CANARY-worn", telegram); err != nil {
		t.Fatal(err)
	} else {
		held = append(held, l, *l)
	}
	for _, set := range []string{`{"access_key_id": "CANARY-id", "secret_access_key": "CANARY-key", "session_token": "CANARY-token"}`, `{"access_key_id": "CANARY-id"}`} {
		l, err := worn(t, set, s3)
		if held = append(held, err); err == nil {
			held = append(held, l, *l, l.Authorize(object(t, "GET", "/", "")))
			signed := request(t)
			if err := l.Authorize(signed); err != nil { // it knows the key of the day by now
				t.Fatal(err)
			}
			held = append(held, l)
		}
	}
	g := newGitHub(t)
	for value, inject := range map[string]vault.Injection{clientSecret: oauth(), g.pkcs1(): app(), `{"client_secret": "CANARY-x", "refresh_token": "CANARY-refresh-1"}`: oauth(func(o *vault.OAuth2) { o.Grant = "refresh_token" })} {
		a := newAuthority()
		g.limit = false
		if a.rotates = strings.HasPrefix(value, "{"); a.rotates {
			a.secret, a.refresh = "CANARY-x", "CANARY-refresh-1"
		}
		send := a.send
		if inject.GitHubApp != nil {
			send = g.send
		}
		v, _ := minting(t, value, inject)
		bare := lease(t, v, stripeRef)
		l := mint(t, v, send)
		held = append(held, bare, *bare, l, *l, bare.Authorize(request(t)), v, inject, vault.Binding{Inject: inject})
		a.fail = func(w http.ResponseWriter) { http.Error(w, "CANARY", 400) }
		g.limit = true
		again, _ := minting(t, value, inject)
		_, err := lease(t, again, stripeRef).Mint(t.Context(), send)
		held = append(held, err, again)
		if v.Close(); err == nil {
			t.Error("minted by a server that refuses")
		}
		again.Close()
	}

	var out bytes.Buffer
	text := slog.New(slog.NewTextHandler(&out, nil))
	structured := slog.New(slog.NewJSONHandler(&out, nil))
	for _, held := range held {
		for _, verb := range "vTtbcoOdqxXUeEfFgGsp" {
			for _, flags := range []string{"", "+", "#", " ", "0", "-", "+#", "200", ".100"} {
				fmt.Fprintf(&out, "%"+flags+string(verb)+"\n", held)
			}
		}
		fmt.Fprintln(&out, held)
		text.Info("x", "held", held)
		structured.Info("x", "held", held)
		encoded, err := json.Marshal(held)
		fmt.Fprintln(&out, string(encoded), err)
		encoded, err = xml.Marshal(held)
		fmt.Fprintln(&out, string(encoded), err)
		fmt.Fprintln(&out, gob.NewEncoder(&out).Encode(held))
		var b strings.Builder
		walk(&b, reflect.ValueOf(held), map[uintptr]bool{})
		out.WriteString(b.String())
	}
	for _, secret := range []string{"CANARY", "Bearer", "svc:CANARY", key[30:80], g.key.D.String()} {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
			base64.RawStdEncoding.EncodeToString([]byte(secret))[:7], fmt.Sprint([]byte(secret))} {
			if i := strings.Index(out.String(), form); i >= 0 {
				t.Errorf("J26 %q is printed: …%q", form, out.String()[max(0, i-200):min(out.Len(), i+100)])
			}
		}
	}
	if !strings.Contains(fmt.Sprintf("%#v", l), "[redacted]") || !strings.Contains(fmt.Sprintf("%x", *l), "[redacted]") {
		t.Errorf("J26 a lease prints as %#v", l)
	}
	var e *vault.LeaseError
	if !errors.As(notBound, &e) {
		t.Error(notBound)
	}
}

// walk writes every string that reflection reaches, exported or not. The
// in-memory account is the secret manager, not ours.
func walk(b *strings.Builder, v reflect.Value, seen map[uintptr]bool) {
	if !v.IsValid() || v.Type() == reflect.TypeFor[*account]() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		b.WriteString(v.String() + "\n")
	case reflect.Interface:
		walk(b, v.Elem(), seen)
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			walk(b, v.Elem(), seen)
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			walk(b, field, seen)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
			fmt.Fprintf(b, "%s\n", v.Bytes())
			return
		}
		for i := range v.Len() {
			walk(b, v.Index(i), seen)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			walk(b, k, seen)
			walk(b, v.MapIndex(k), seen)
		}
	}
}
