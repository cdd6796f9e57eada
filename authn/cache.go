package authn

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	cacheLife   = 5 * time.Minute // the longest a verification is believed
	cacheBytes  = 32 << 20
	cacheShards = 16
)

// cache remembers verified tokens: least recently used first out, bounded in
// bytes because a caller chooses how large its claims are. The libraries we
// looked at bound entries, or bring timers and goroutines for expiry; here an
// entry also dies with the keys that verified it, which a lookup can just see.
//
// Its key is the SHA-256 of all of the token: two tokens never share an entry.
// Refusals are not remembered, so nobody can fill it without a good token.
type cache struct {
	hits   atomic.Int64
	shards [cacheShards]shard
}

// shard is a part of the cache with a lock of its own. The entries form a ring
// around root, most recently used first.
type shard struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]*entry
	root    entry
	bytes   int
}

// entry is one verified token. The Identity is shared by all who present it.
type entry struct {
	key        [sha256.Size]byte
	identity   *Identity
	keys       *keySet // that verified it
	generation uint64
	until      time.Time
	prev, next *entry
}

func newCache() *cache {
	c := new(cache)
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = make(map[[sha256.Size]byte]*entry)
		s.root.prev, s.root.next = &s.root, &s.root
	}
	return c
}

// tokenKey hashes a token without copying it; nothing writes to the bytes.
func tokenKey(token string) [sha256.Size]byte {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token)))
}

// find returns the Identity of a token that was verified, and would be again
// with the same keys.
func (c *cache) find(key [sha256.Size]byte, now time.Time) *Identity {
	s := &c.shards[key[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil {
		return nil
	}
	s.unlink(e)
	if !now.Before(e.until) || e.keys.current.Load().generation != e.generation {
		s.forget(e)
		return nil
	}
	s.link(e)
	c.hits.Add(1)
	return e.identity
}

// add remembers a verification.
func (c *cache) add(e *entry) {
	s := &c.shards[e.key[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.entries[e.key]; old != nil {
		s.unlink(old)
		s.forget(old)
	}
	s.entries[e.key] = e
	s.bytes += e.identity.size()
	s.link(e)
	for s.bytes > cacheBytes/cacheShards {
		last := s.root.prev
		s.unlink(last)
		s.forget(last)
	}
}

func (s *shard) link(e *entry) {
	e.prev, e.next = &s.root, s.root.next
	e.prev.next, e.next.prev = e, e
}

func (s *shard) unlink(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
}

func (s *shard) forget(e *entry) {
	delete(s.entries, e.key)
	s.bytes -= e.identity.size()
}

// size is how many bytes the cache holds.
func (c *cache) size() int {
	total := 0
	for i := range c.shards {
		c.shards[i].mu.Lock()
		total += c.shards[i].bytes
		c.shards[i].mu.Unlock()
	}
	return total
}

// size is about what remembering an Identity takes: strings and headers, its
// entry, and the entry's place in the map.
func (id *Identity) size() int {
	const header = int(unsafe.Sizeof(""))
	const fixed = int(unsafe.Sizeof(*id)+unsafe.Sizeof(entry{})) + 2*sha256.Size
	n := fixed + len(id.Subject) + len(id.Email) + len(id.ClientID) + len(id.ACR)
	lists := [][]string{id.Groups, id.Roles, id.Actors}
	for _, values := range id.Claims {
		n += 8 * header // the map's slot, and the share of its empty ones
		lists = append(lists, values)
	}
	for _, list := range lists {
		for _, s := range list {
			n += header + len(s)
		}
	}
	return n
}
