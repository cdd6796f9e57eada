package session

import "time"

// lastGiveBack is how much longer tokens are given back once Close is called.
const lastGiveBack = 2 * time.Second

// begin says whether something may begin that outlives the request that asks for
// it. Whoever began it says m.behind.Done.
func (m *Manager) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.behind.Add(1)
	return true
}

// Close ends what outlives requests; the Store may be closed after it. A refresh
// under way is waited for, since its tokens would be lost, and the session with
// them. Refresh tokens that are not given back in a moment are left to expire.
// Nothing is refreshed after it.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	timer := time.AfterFunc(lastGiveBack, m.stop)
	defer timer.Stop()
	m.behind.Wait()
	m.stop()
}
