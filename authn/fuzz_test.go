package authn

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

// FuzzClaims: what we accept means the same to encoding/json, which folds case
// and takes the last of duplicates.
func FuzzClaims(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	r, err := newRules(IssuerConfig{
		Name: "a", URL: "https://a.test", Audience: "v", AccessTokenTypes: []string{"none"},
		Claims: ClaimPaths{Roles: "realm_access.roles", Expose: []string{"x"}},
	}, nil)
	if err != nil {
		f.Fatal(err)
	}
	const good = `"iss":"https://a.test","sub":"s","aud":"v","iat":1800000000,"exp":1800000600`
	f.Add("{" + good + "}")
	f.Add("{" + good + `,"Sub":"t"}`)
	f.Add("{" + good + `,"ſub":"t","realm_access":{"roles":["a"]},"x":[1,"a",true]}`)
	f.Add("{" + good + `,"act":{"sub":"a","act":{"sub":"b"}},"groups":["g"],"email":"a@b.c","email_verified":"true"}`)
	f.Add(`{"iss":"https://a.test","sub":"\u0073","aud":["v","w"],"iat":1.8e9,"exp":1800000600.5,"nbf":1}`)
	f.Fuzz(func(t *testing.T, payload string) {
		claims, err := decode([]byte(payload))
		if err != nil {
			return
		}
		if iss, _ := claims.text("iss"); iss != r.url {
			return
		}
		id, err := r.accept(jws{}, claims, now)
		if err != nil {
			return
		}
		var theirs struct {
			Iss, Sub string
			Aud      any
			Exp      float64
			Act      *struct{ Sub string }
			Groups   any
		}
		if err := json.Unmarshal([]byte(payload), &theirs); err != nil {
			t.Fatalf("accepted what encoding/json does not: %v", err)
		}
		if theirs.Iss != r.url || theirs.Sub != id.Subject {
			t.Errorf("iss, sub: ours %q %q, theirs %q %q", r.url, id.Subject, theirs.Iss, theirs.Sub)
		}
		aud, ok := theirs.Aud.([]any)
		if !ok {
			aud = []any{theirs.Aud}
		}
		if !slices.Contains(aud, any("v")) {
			t.Errorf("aud: theirs %v", theirs.Aud)
		}
		if d := theirs.Exp - float64(id.Expires.UnixNano())/1e9; d > 1e-3 || d < -1e-3 {
			t.Errorf("exp: ours %v, theirs %v", id.Expires, theirs.Exp)
		}
		if (theirs.Act != nil) != (len(id.Actors) > 0) || theirs.Act != nil && theirs.Act.Sub != id.Actors[0] {
			t.Errorf("act: ours %q, theirs %v", id.Actors, theirs.Act)
		}
		if id.Groups != nil && !reflect.DeepEqual(theirs.Groups, toAny(id.Groups)) {
			t.Errorf("groups: ours %q, theirs %v", id.Groups, theirs.Groups)
		}
		if len(id.Subject) == 0 || id.size() > 64*len(payload)+4096 {
			t.Errorf("an identity of %d bytes from %d", id.size(), len(payload))
		}
	})
}

// FuzzHeader is the same for headers.
func FuzzHeader(f *testing.F) {
	f.Add(`{"alg":"RS256","kid":"k","typ":"at+jwt"}`)
	f.Add(`{"alg":"RS256","Alg":"none"}`)
	f.Add("{\"alg\":\"RS256\",\"\u212aid\":\"k\"}")
	f.Add(`{"alg":"RS256","\u212aid":"k","x":{"a":[]}}`)
	f.Fuzz(func(t *testing.T, header string) {
		ours, err := parse(base64.RawURLEncoding.EncodeToString([]byte(header)) + ".e30.")
		if err != nil {
			return
		}
		var theirs struct{ Alg, Kid, Typ string }
		if err := json.Unmarshal([]byte(header), &theirs); err != nil {
			t.Fatalf("accepted what encoding/json does not: %v", err)
		}
		if ours.alg != theirs.Alg || ours.kid != theirs.Kid || ours.typ != normalType(theirs.Typ) {
			t.Errorf("ours %q %q %q, theirs %+v", ours.alg, ours.kid, ours.typ, theirs)
		}
	})
}

// FuzzKeys: no document makes a key that is not fit, or a panic.
func FuzzKeys(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"1"}]}`)
	f.Add(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB","use":"sig","key_ops":["verify"],"alg":"RS256"}]}`)
	f.Fuzz(func(t *testing.T, document string) {
		keys, err := parseKeys([]byte(document))
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys and %v", len(keys), err)
		}
		for _, k := range keys {
			if len(verifies(k.public)) == 0 || len(k.algorithms) == 0 {
				t.Errorf("a key that verifies nothing: %v", k)
			}
		}
	})
}

func toAny(list []string) any {
	all := make([]any, 0, len(list))
	for _, s := range list {
		all = append(all, s)
	}
	return all
}
