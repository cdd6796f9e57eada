package session

import (
	"context"
	"time"
)

// operations are a store's, as metrics name them.
var operations = []string{"add", "find", "touch", "lease", "replace", "end", "list", "once", "forget", "sweep"}

// measured is a store whose operations are timed and whose failures are counted.
type measured struct {
	Store
	meter *meter
}

func (s measured) Add(ctx context.Context, r Record) (err error) {
	defer s.note(ctx, "add", time.Now(), &err)
	return s.Store.Add(ctx, r)
}

func (s measured) Find(ctx context.Context, k Key) (_ Record, err error) {
	defer s.note(ctx, "find", time.Now(), &err)
	return s.Store.Find(ctx, k)
}

func (s measured) Touch(ctx context.Context, k Key, used time.Time) (err error) {
	defer s.note(ctx, "touch", time.Now(), &err)
	return s.Store.Touch(ctx, k, used)
}

func (s measured) Lease(ctx context.Context, k Key, version int64, now, until time.Time) (_ bool, err error) {
	defer s.note(ctx, "lease", time.Now(), &err)
	return s.Store.Lease(ctx, k, version, now, until)
}

func (s measured) Replace(ctx context.Context, r Record) (_ bool, err error) {
	defer s.note(ctx, "replace", time.Now(), &err)
	return s.Store.Replace(ctx, r)
}

func (s measured) End(ctx context.Context, f Filter, why string) (_ []Record, err error) {
	defer s.note(ctx, "end", time.Now(), &err)
	return s.Store.End(ctx, f, why)
}

func (s measured) List(ctx context.Context, f Filter) (_ []Record, err error) {
	defer s.note(ctx, "list", time.Now(), &err)
	return s.Store.List(ctx, f)
}

func (s measured) Once(ctx context.Context, k Key, now, until time.Time) (_ bool, err error) {
	defer s.note(ctx, "once", time.Now(), &err)
	return s.Store.Once(ctx, k, now, until)
}

func (s measured) Forget(ctx context.Context, k Key) (err error) {
	defer s.note(ctx, "forget", time.Now(), &err)
	return s.Store.Forget(ctx, k)
}

func (s measured) Sweep(ctx context.Context, now time.Time) (err error) {
	defer s.note(ctx, "sweep", time.Now(), &err)
	return s.Store.Sweep(ctx, now)
}

func (s measured) note(ctx context.Context, operation string, began time.Time, err *error) {
	s.meter.store(ctx, operation, began, *err)
}
