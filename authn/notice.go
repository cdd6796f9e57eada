package authn

// Notice is a refused request, as the person is told whose browser sent it.
type Notice struct {
	Status int    // of HTTP
	Code   string // of the refusal
	Title  string // of the refusal, in lower case
	Reason string // the policy's; may be empty
	Who    string // as whom the person is signed in; empty: nobody
	SignIn string // where to sign in so that it does
	Trace  string // to quote to an operator
}
