package authn

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCacheBounds: the cache holds no more bytes than it may, whatever the size
// of what it is given, and forgets the least recently used first.
func TestCacheBounds(t *testing.T) {
	c, keys, now := newCache(), new(keySet), time.Now()
	keys.current.Store(&snapshot{generation: 1})
	add := func(n, size int) [sha256.Size]byte {
		key := sha256.Sum256(fmt.Append(nil, n))
		key[0] = 0 // all in one shard
		id := &Identity{Groups: []string{strings.Repeat("g", size)}}
		c.add(&entry{key: key, identity: id, keys: keys, generation: 1, until: now.Add(time.Minute)})
		return key
	}
	first, second := add(1, 100), add(2, 100)
	for n := range 10000 {
		add(3+n, 40<<10)
		if c.find(first, now) == nil {
			t.Fatalf("forgot an entry that is used all the time, after %d others", n)
		}
	}
	if c.find(second, now) != nil {
		t.Error("remembers an entry that was never used")
	}
	if size := c.size(); size > cacheBytes/cacheShards || size < cacheBytes/cacheShards/2 {
		t.Errorf("size %d; want just under %d", size, cacheBytes/cacheShards)
	}
	if n := len(c.shards[0].entries); n > cacheBytes/cacheShards/(40<<10) {
		t.Errorf("%d entries", n)
	}
	if add(1, 200); c.find(first, now.Add(time.Minute)) != nil {
		t.Error("remembers an entry past its end")
	}
	third := add(20000, 1)
	keys.current.Store(&snapshot{generation: 2})
	if c.find(third, now) != nil {
		t.Error("remembers what other keys verified")
	}
	huge := add(30000, cacheBytes)
	if c.find(huge, now) != nil || c.size() != 0 {
		t.Errorf("holds what is larger than all of it; size %d", c.size())
	}
}
