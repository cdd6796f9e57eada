package session

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a Store for many nodes. Every key goes by itself when its session
// ends, so nothing has to be swept.
//
//	vs:s:KEY           a hash, a Record
//	vs:all             a set of the live sessions' keys, and such sets by handle,
//	vs:i:HASH          by issuer and subject, and by issuer and sid: each is swept
//	                   of what is gone as it is read
//	vs:once:KEY        a key that Once was asked for
//
// Scripts run on one server, so that a lease and a version are compared and
// written at once. A cluster would need all keys in one slot: use one server, or
// Sentinel in front of several.
type Redis struct{ client *redis.Client }

const redisPrefix = "vs:"

// OpenRedis is a store at a URL as in Config.Redis, with the authorities in a file
// as in Config.RedisCA. It does not wait for the server: sessions are unavailable
// until it answers.
func OpenRedis(address, ca string) (*Redis, error) {
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, errors.New("sessions.redis: is not a URL such as redis://host:port/0") // the error quotes it, password and all
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("sessions.redis_ca: %w", err)
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(pem) || options.TLSConfig == nil {
			return nil, errors.New("sessions.redis_ca: holds no certificate in PEM form, or there is no TLS")
		}
		options.TLSConfig.RootCAs = authorities
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = budget, budget, budget
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1 // a lease that was written twice is somebody else's
	options.DialerRetries = 1
	options.DisableIdentity = true
	silence()
	return &Redis{redis.NewClient(options)}, nil
}

// silence stops the client library from writing on its own to the process's
// standard error. All that it says there is returned as an error too.
var silence = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Close implements Store.
func (s *Redis) Close() error { return s.client.Close() }

func sessionAt(k Key) string { return redisPrefix + "s:" + hex.EncodeToString(k[:]) }

// index names the sets that a record is in. The names are hashes: a subject may
// be long, and is nobody's business who looks at keys.
func index(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return redisPrefix + "i:" + hex.EncodeToString(h.Sum(nil)[:16])
}

func (r Record) indexes() []string {
	all := []string{redisPrefix + "all", index("handle", r.Handle), index("issuer", r.Issuer), index("subject", r.Issuer, r.Subject)}
	if r.SessionID != "" {
		all = append(all, index("sid", r.Issuer, r.SessionID))
	}
	return all
}

// set is the smallest set in which all that match are.
func (f Filter) set() string {
	switch {
	case f.Handle != "":
		return index("handle", f.Handle)
	case f.Issuer != "" && f.SessionID != "":
		return index("sid", f.Issuer, f.SessionID)
	case f.Issuer != "" && f.Subject != "":
		return index("subject", f.Issuer, f.Subject)
	case f.Issuer != "":
		return index("issuer", f.Issuer)
	}
	return redisPrefix + "all"
}

func (f Filter) matches(r Record) bool {
	return r.Ended == "" && (f.Handle == "" || f.Handle == r.Handle) && (f.Issuer == "" || f.Issuer == r.Issuer) &&
		(f.Subject == "" || f.Subject == r.Subject) && (f.SessionID == "" || f.SessionID == r.SessionID)
}

// Add implements Store.
func (s *Redis) Add(ctx context.Context, r Record) error {
	made, err := addScript.Run(ctx, s.client, []string{sessionAt(r.Key)}, r.Ends.Sub(r.Created).Milliseconds(),
		"handle", r.Handle, "issuer", r.Issuer, "subject", r.Subject, "sid", r.SessionID, "created", millis(r.Created), "used", millis(r.Used),
		"ends", millis(r.Ends), "refresh", millis(r.Refresh), "lease", millis(r.Lease), "version", r.Version, "ended", r.Ended, "sealed", r.Sealed).Bool()
	if err != nil {
		return err
	}
	if !made {
		return errors.New("there is a session of this key")
	}
	return s.enter(ctx, r, r.indexes()...)
}

// enter puts a record into sets, which last at least as long as it.
func (s *Redis) enter(ctx context.Context, r Record, sets ...string) error {
	life := r.Ends.Sub(r.Created)
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, set := range sets {
			p.SAdd(ctx, set, r.Key[:])
			p.ExpireGT(ctx, set, life)
			p.ExpireNX(ctx, set, life)
		}
		return nil
	})
	return err
}

// Find implements Store.
func (s *Redis) Find(ctx context.Context, k Key) (Record, error) {
	fields, err := s.client.HGetAll(ctx, sessionAt(k)).Result()
	if err != nil {
		return Record{}, err
	}
	return readHash(k, fields)
}

// readHash reads what Add wrote.
func readHash(k Key, fields map[string]string) (Record, error) {
	if len(fields) == 0 {
		return Record{}, errUnknown
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(fields[name], 10, 64)
		return n
	}
	return Record{
		Key: k, Handle: fields["handle"], Issuer: fields["issuer"], Subject: fields["subject"], SessionID: fields["sid"],
		Created: moment(number("created")), Used: moment(number("used")), Ends: moment(number("ends")), Refresh: moment(number("refresh")),
		Lease: moment(number("lease")), Version: number("version"), Ended: fields["ended"], Sealed: []byte(fields["sealed"]),
	}, nil
}

// The scripts compare and write at once. Times are milliseconds, as numbers.
var (
	addScript = redis.NewScript(`
		if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
		redis.call('HSET', KEYS[1], unpack(ARGV, 2))
		redis.call('PEXPIRE', KEYS[1], ARGV[1])
		return 1`)
	touchScript = redis.NewScript(`
		local used = redis.call('HGET', KEYS[1], 'used')
		if used and tonumber(used) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'used', ARGV[1]) end
		return 1`)
	leaseScript = redis.NewScript(`
		local f = redis.call('HMGET', KEYS[1], 'version', 'ended', 'lease')
		if f[1] ~= ARGV[1] or f[2] ~= '' or tonumber(f[3]) > tonumber(ARGV[2]) then return 0 end
		redis.call('HSET', KEYS[1], 'lease', ARGV[3])
		return 1`)
	replaceScript = redis.NewScript(`
		local f = redis.call('HMGET', KEYS[1], 'version', 'ended')
		if f[1] ~= ARGV[1] or f[2] ~= '' then return 0 end
		redis.call('HSET', KEYS[1], 'refresh', ARGV[2], 'sealed', ARGV[3], 'sid', ARGV[4], 'lease', '0')
		redis.call('HINCRBY', KEYS[1], 'version', 1)
		return 1`)
	// A server that is full must not keep people logged in.
	endScript = redis.NewScript(`#!lua flags=allow-oom
		local done = {}
		for i, key in ipairs(KEYS) do
			done[i] = 0
			if redis.call('HGET', key, 'ended') == '' then
				redis.call('HSET', key, 'ended', ARGV[1], 'sealed', '')
				redis.call('HINCRBY', key, 'version', 1)
				done[i] = 1
			end
		end
		return done`)
)

// Touch implements Store.
func (s *Redis) Touch(ctx context.Context, k Key, used time.Time) error {
	return touchScript.Run(ctx, s.client, []string{sessionAt(k)}, millis(used)).Err()
}

// Lease implements Store.
func (s *Redis) Lease(ctx context.Context, k Key, version int64, now, until time.Time) (bool, error) {
	return leaseScript.Run(ctx, s.client, []string{sessionAt(k)}, version, millis(now), millis(until)).Bool()
}

// Replace implements Store.
func (s *Redis) Replace(ctx context.Context, r Record) (bool, error) {
	// A provider may give its session another name. To find it by both is no harm;
	// not to find it by the new one would be, so that comes first.
	if r.SessionID != "" {
		if err := s.enter(ctx, r, index("sid", r.Issuer, r.SessionID)); err != nil {
			return false, err
		}
	}
	return replaceScript.Run(ctx, s.client, []string{sessionAt(r.Key)}, r.Version, millis(r.Refresh), r.Sealed, r.SessionID).Bool()
}

// End implements Store.
func (s *Redis) End(ctx context.Context, f Filter, why string) ([]Record, error) {
	found, err := s.List(ctx, f)
	if err != nil {
		return nil, err
	}
	var ended []Record
	for some := range slices.Chunk(found, 500) {
		keys := make([]string, len(some))
		for i, r := range some {
			keys[i] = sessionAt(r.Key)
		}
		done, err := endScript.Run(ctx, s.client, keys, why).Int64Slice()
		if err != nil {
			return ended, err
		}
		for i, r := range some {
			if done[i] == 1 {
				ended = append(ended, r)
			}
		}
		if _, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, r := range some {
				for _, set := range r.indexes() {
					p.SRem(ctx, set, r.Key[:])
				}
			}
			return nil
		}); err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// List implements Store.
func (s *Redis) List(ctx context.Context, f Filter) ([]Record, error) {
	members, err := s.client.SMembers(ctx, f.set()).Result()
	if err != nil {
		return nil, err
	}
	var found []Record
	for some := range slices.Chunk(members, 500) {
		answers := make([]*redis.MapStringStringCmd, len(some))
		keys := make([]Key, len(some))
		if _, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, m := range some {
				copy(keys[i][:], m)
				answers[i] = p.HGetAll(ctx, sessionAt(keys[i]))
			}
			return nil
		}); err != nil {
			return nil, err
		}
		var gone []any
		for i, answer := range answers {
			r, err := readHash(keys[i], answer.Val())
			switch {
			case err != nil:
				gone = append(gone, some[i])
			case f.matches(r):
				found = append(found, r)
			}
		}
		if len(gone) > 0 {
			if err := s.client.SRem(ctx, f.set(), gone...).Err(); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(found, func(a, b Record) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Handle, b.Handle)
	})
	return found, nil
}

// Forget implements Store.
func (s *Redis) Forget(ctx context.Context, k Key) error {
	return s.client.Del(ctx, redisPrefix+"once:"+hex.EncodeToString(k[:])).Err()
}

// Once implements Store.
func (s *Redis) Once(ctx context.Context, k Key, now, until time.Time) (bool, error) {
	at := redisPrefix + "once:" + hex.EncodeToString(k[:])
	err := s.client.SetArgs(ctx, at, 1, redis.SetArgs{Mode: "NX", TTL: until.Sub(now)}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// Sweep implements Store. What is over went by itself; what is looked for is a
// server that drops keys by itself. The sets by which sessions are found would go
// too, and a session that is in none of them cannot be revoked.
func (s *Redis) Sweep(ctx context.Context, _ time.Time) error {
	info, err := s.client.Info(ctx, "memory").Result()
	if err != nil {
		return err
	}
	for line := range strings.Lines(info) {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok && policy != "noeviction" {
			return fmt.Errorf("this Redis drops keys when it is full (maxmemory-policy %s), and what it dropped cannot be found to be revoked: set noeviction", policy)
		}
	}
	return nil
}
