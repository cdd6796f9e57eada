package vault

import "strings"

// Check reports every problem of the injection, by its path in it. It never
// quotes a format: what stands around a placeholder may be secret too.
func (i Injection) Check(report func(path, problem string)) {
	var kinds []string
	for _, kind := range []struct {
		name  string
		given bool
	}{
		{"bearer", i.bearer}, {"header", i.Header != ""}, {"basic", i.Basic != Basic{}}, {"query", i.Query != ""}, {"cookie", i.Cookie != ""},
		{"path", i.Path != ""}, {"sigv4", i.SigV4 != SigV4{}}, {"mtls", i.mtls}, {"oauth2", i.OAuth2 != nil}, {"github_app", i.GitHubApp != nil},
	} {
		if kind.given {
			kinds = append(kinds, kind.name)
		}
	}
	switch {
	case len(kinds) > 1:
		report("", "is "+strings.Join(kinds, " and ")+" at once: a credential goes to one place; keep one")
		return
	case len(kinds) == 0 && i.Format != "":
		report("header", "is missing: name the header that carries the credential, or give query or cookie")
		return
	case len(kinds) == 0:
		report("", "is missing: say how the upstream wants its credential, with "+ways)
		return
	}
	switch {
	case i.SigV4 != (SigV4{}):
		i.SigV4.check(report)
	case i.Path != "":
		checkPathFormat(i.Path, report)
	case i.OAuth2 != nil || i.GitHubApp != nil:
		i.checkMinting(report)
		return
	}
	i.checkName(report)
	i.checkFormat(report)
}

func (i Injection) checkName(report func(path, problem string)) {
	switch {
	case i.Header != "" && !isToken(i.Header):
		report("header", "is not a header's name: use letters, digits and -")
	case i.Header != "" && fold(i.Header) == "cookie":
		report("header", "is where all cookies go: write {cookie: NAME}")
	case i.Header != "" && isManaged(i.Header):
		report("header", "the gateway or the connection manages this header: a credential cannot travel in it")
	case strings.ContainsFunc(i.Query, func(r rune) bool { return !isUnreserved(r) }):
		report("query", "is not a parameter's name: use letters, digits and -._~")
	case i.Cookie != "" && !isToken(i.Cookie):
		report("cookie", "is not a cookie's name: use letters, digits, - and _")
	}
}

func (i Injection) checkFormat(report func(path, problem string)) {
	switch {
	case i.bearer && i.Format != "":
		report("", "bearer stands alone: give the word bearer, or {header: …, format: …}")
	case i.mtls && i.Format != "":
		report("", "mtls stands alone: give the word mtls")
	case i.SigV4 != SigV4{}:
		if i.Format != "" {
			report("format", "does not go with sigv4: the secret's fields are access_key_id, secret_access_key and session_token")
		}
	case i.Path != "":
		if i.Format != "" {
			report("format", "does not go with path: write the placeholder into it")
		}
	case i.Basic != Basic{}:
		if i.Format != "" {
			report("format", "does not go with basic: give user and password")
		}
		b := i.Basic.complete()
		if err := checkNames(b.User, b.Password); err != nil {
			report("basic", "user and password: "+err.Error())
		}
		checkLiterals(b.User, userID, "basic.user", report)
		checkLiterals(b.Password, plainText, "basic.password", report)
	case i.Format != "":
		if err := checkNames(i.Format); err != nil {
			report("format", err.Error())
			return
		}
		fit := fieldValue
		if i.Cookie != "" {
			fit = cookieOctets
		}
		checkLiterals(i.Format, fit, "format", report)
	}
}

// checkLiterals looks at what stands around the placeholders, with something
// that fits anywhere in their stead.
func checkLiterals(format string, fit func(string) error, path string, report func(path, problem string)) {
	if err := fit(strings.Join(parseFormat(format).literals, "x")); err != nil {
		report(path, err.Error())
	}
}

// isUnreserved is RFC 3986, section 2.3: what needs no encoding, and is read
// alike by all.
func isUnreserved(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~", r)
}
