package authn

import "time"

// IssuerStatus is how one issuer is doing.
type IssuerStatus struct {
	Name    string
	Ready   bool          // its tokens can be verified
	KeysAge time.Duration // since its keys were last fetched; 0 when they never were
	Reason  string        // what was wrong with the last fetch; empty when nothing was
}

// Status returns how each issuer is doing, in the configuration's order.
func (a *Authenticator) Status() []IssuerStatus {
	var all []IssuerStatus
	now := a.now()
	for _, i := range a.issuers {
		s := IssuerStatus{Name: i.name}
		keys := i.keys.current.Load()
		s.Ready = keys.fresh(now, i.keys.maxAge)
		if keys != nil {
			s.KeysAge = now.Sub(keys.confirmed)
		}
		if err := i.keys.failing(); err != nil {
			s.Reason = err.Error()
		} else if keys == nil {
			s.Reason = "keys not fetched yet"
		}
		all = append(all, s)
	}
	return all
}
