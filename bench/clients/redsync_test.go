package clients

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	overgoredis "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	overrueidis "github.com/go-redsync/redsync/v4/redis/rueidis"
	"github.com/redis/rueidis/rueidiscompat"
)

func TestRedsync(t *testing.T) {
	t.Run("over-go-redis", func(t *testing.T) {
		t.Parallel()
		testRedsync(t, "redsync4-go-redis", overgoredis.NewPool(dialGoRedis(t, target.url(), nil)))
	})
	t.Run("over-rueidis", func(t *testing.T) {
		t.Parallel()
		client, err := dialRueidis(t, target.url(), nil)
		noError(t, err)
		testRedsync(t, "redsync4-rueidis", overrueidis.NewPool(rueidiscompat.NewAdapter(client)))
	})
}

func testRedsync(t *testing.T, name string, pool redsyncredis.Pool) {
	rs := redsync.New(pool)
	rdb := dialGoRedis(t, target.url(), nil) // looks at the keys from outside
	run := func(label string, body func(t *testing.T, ctx context.Context)) { scenario(t, name, label, body) }
	mutex := func(key string, options ...redsync.Option) *redsync.Mutex {
		return rs.NewMutex(name+":"+key, append([]redsync.Option{
			redsync.WithExpiry(30 * time.Second),
			redsync.WithTries(1),
		}, options...)...)
	}
	release := func(t *testing.T, ctx context.Context, m *redsync.Mutex) {
		t.Helper()
		ok, err := m.UnlockContext(ctx)
		noError(t, err)
		equal(t, ok, true)
	}

	run("acquire-release", func(t *testing.T, ctx context.Context) {
		m := mutex("one")
		noError(t, m.LockContext(ctx))
		equal(t, rdb.Get(ctx, m.Name()).Val(), m.Value())
		release(t, ctx, m)
		equal(t, rdb.Exists(ctx, m.Name()).Val(), 0)
	})

	run("contended", func(t *testing.T, ctx context.Context) {
		ours, theirs := mutex("one"), mutex("one")
		noError(t, ours.LockContext(ctx))
		var taken *redsync.ErrTaken
		if err := theirs.LockContext(ctx); !errors.As(err, &taken) {
			t.Fatalf("got %v, want ErrTaken", err)
		}
		release(t, ctx, ours)
		noError(t, theirs.LockContext(ctx))
		release(t, ctx, theirs)
	})

	run("extend", func(t *testing.T, ctx context.Context) {
		m := mutex("one", redsync.WithExpiry(time.Second))
		noError(t, m.LockContext(ctx))
		noError(t, rdb.PExpire(ctx, m.Name(), 100*time.Second).Err())
		ok, err := m.ExtendContext(ctx)
		noError(t, err)
		equal(t, ok, true)
		if left := rdb.PTTL(ctx, m.Name()).Val(); left <= 0 || left > time.Second {
			t.Fatalf("pttl %s after extend", left)
		}
		release(t, ctx, m)
	})

	run("lost-lock", func(t *testing.T, ctx context.Context) {
		m := mutex("one")
		noError(t, m.LockContext(ctx))
		noError(t, rdb.Set(ctx, m.Name(), "somebody else", 0).Err())
		if ok, err := m.ExtendContext(ctx); ok || err == nil {
			t.Fatal("extended a lock that somebody else holds")
		}
		if ok, err := m.UnlockContext(ctx); ok || err == nil {
			t.Fatal("released a lock that somebody else holds")
		}
		equal(t, rdb.Get(ctx, m.Name()).Val(), "somebody else")
		noError(t, rdb.Del(ctx, m.Name()).Err())
		if _, err := m.UnlockContext(ctx); !errors.Is(err, redsync.ErrLockAlreadyExpired) {
			t.Fatalf("got %v, want ErrLockAlreadyExpired", err)
		}
	})

	run("extend-with-set-nx", func(t *testing.T, ctx context.Context) {
		m := mutex("one", redsync.WithSetNXOnExtend())
		noError(t, m.LockContext(ctx))
		noError(t, rdb.Del(ctx, m.Name()).Err())
		ok, err := m.ExtendContext(ctx)
		noError(t, err)
		equal(t, ok, true)
		equal(t, rdb.Get(ctx, m.Name()).Val(), m.Value())
		release(t, ctx, m)
	})

	run("expires-by-itself", func(t *testing.T, ctx context.Context) {
		noError(t, mutex("one", redsync.WithExpiry(50*time.Millisecond)).LockContext(ctx))
		patient := mutex("one", redsync.WithTries(500), redsync.WithRetryDelay(5*time.Millisecond))
		noError(t, patient.LockContext(ctx))
		release(t, ctx, patient)
	})

	run("one-at-a-time", func(t *testing.T, ctx context.Context) {
		var inside atomic.Int32
		failures := make(chan error, 20)
		for range cap(failures) {
			go func() {
				m := mutex("turn", redsync.WithTries(2000), redsync.WithRetryDelay(3*time.Millisecond))
				err := m.LockContext(ctx)
				if err == nil {
					if inside.Add(1) != 1 {
						err = errors.New("two inside at once")
					}
					err = errors.Join(err, rdb.Ping(ctx).Err())
					inside.Add(-1)
					_, unlockErr := m.UnlockContext(ctx)
					err = errors.Join(err, unlockErr)
				}
				failures <- err
			}()
		}
		for range cap(failures) {
			noError(t, <-failures)
		}
	})
}
