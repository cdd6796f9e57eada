package policy

import (
	"hash/maphash"
	"sync"
)

// maxMemory bounds what an engine's memory holds, keys and answers together.
const maxMemory = 16 << 20

// memory holds answers by key, in shards so that requests do not queue for one
// lock. Each shard has two generations: when the young one is full it becomes
// the old one and what the old one held is forgotten, unless it was asked for
// since. Nothing is ever wrong in here: a new policy has a new memory.
type memory struct {
	seed   maphash.Seed
	shards [16]shard
}

type shard struct {
	mu         sync.RWMutex
	young, old map[string]Decision
	bytes      int // of young
}

func newMemory() *memory { return &memory{seed: maphash.MakeSeed()} }

func (m *memory) shard(key []byte) *shard {
	return &m.shards[maphash.Bytes(m.seed, key)%uint64(len(m.shards))]
}

func (m *memory) find(key []byte) (Decision, bool) {
	s := m.shard(key)
	s.mu.RLock()
	d, ok := s.young[string(key)]
	if ok {
		s.mu.RUnlock()
		return d, true
	}
	d, ok = s.old[string(key)]
	s.mu.RUnlock()
	if ok {
		s.keep(string(key), d)
	}
	return d, ok
}

func (m *memory) keep(key []byte, d Decision) { m.shard(key).keep(string(key), d) }

func (s *shard) keep(key string, d Decision) {
	const limit = maxMemory / 2 / len(memory{}.shards)
	bytes := cost(key, d)
	if bytes > limit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.young[key]; ok {
		return
	}
	if s.bytes+bytes > limit {
		s.old, s.young, s.bytes = s.young, nil, 0
	}
	if s.young == nil {
		s.young = map[string]Decision{}
	}
	s.young[key] = d
	s.bytes += bytes
}

// cost is what an entry holds, its place in the map roughly included.
func cost(key string, d Decision) int {
	return len(key) + len(d.Reason) + len(d.Role) + len(d.Secret) + 256
}
