package clients

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialGoRedis opens a client by address, changed before it connects.
func dialGoRedis(t *testing.T, url string, change func(*redis.Options)) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	noError(t, err)
	if change != nil {
		change(options)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestGoRedis(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("resp%d", protocol), func(t *testing.T) {
			t.Parallel()
			testGoRedis(t, protocol)
		})
	}
}

func testGoRedis(t *testing.T, protocol int) {
	name := fmt.Sprintf("go-redis9-resp%d", protocol)
	key := func(format string, args ...any) string { return name + ":" + fmt.Sprintf(format, args...) }
	speak := func(o *redis.Options) { o.Protocol = protocol }
	dial := func(t *testing.T, url string) *redis.Client { return dialGoRedis(t, url, speak) }
	run := func(label string, body func(t *testing.T, ctx context.Context)) { scenario(t, name, label, body) }
	rdb, other := dial(t, target.url()), dial(t, target.url())

	run("connect-password", func(t *testing.T, ctx context.Context) {
		noError(t, rdb.Ping(ctx).Err())
	})

	run("connect-wrong-password", func(t *testing.T, ctx context.Context) {
		refused(t, dial(t, target.urlOf("", "wrong")).Ping(ctx).Err(), "WRONGPASS")
		refused(t, dialGoRedis(t, target.url(), func(o *redis.Options) {
			speak(o)
			o.Password = ""
		}).Ping(ctx).Err(), "NOAUTH")
	})

	run("connect-user", func(t *testing.T, ctx context.Context) {
		alice := dial(t, target.urlOf("alice", "secret"))
		noError(t, alice.Set(ctx, key("alice"), "here", 0).Err())
		reader := dial(t, target.urlOf("reader", "secret2"))
		equal(t, reader.Get(ctx, key("alice")).Val(), "here")
		refused(t, reader.Set(ctx, key("alice"), "gone", 0).Err(), "NOPERM")
	})

	run("connect-tls", func(t *testing.T, ctx context.Context) {
		secure := dialGoRedis(t, target.tlsURL(), func(o *redis.Options) {
			speak(o)
			o.TLSConfig = trusted(t)
		})
		noError(t, secure.Set(ctx, key("tls"), "sealed", 0).Err())
		equal(t, rdb.Get(ctx, key("tls")).Val(), "sealed")
		refused(t, dial(t, target.tlsURL()).Ping(ctx).Err(), "certificate")
	})

	run("connect-database", func(t *testing.T, ctx context.Context) {
		three := dial(t, target.url()+"/3")
		noError(t, rdb.Set(ctx, key("db"), "zero", 0).Err())
		noError(t, three.Del(ctx, key("db")).Err())
		equal(t, errors.Is(three.Get(ctx, key("db")).Err(), redis.Nil), true)
		noError(t, three.Set(ctx, key("db"), "three", 0).Err())
		equal(t, rdb.Get(ctx, key("db")).Val(), "zero")
	})

	run("pipeline", func(t *testing.T, ctx context.Context) {
		replies, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := range 500 {
				pipe.Set(ctx, key("pipe:%d", i), i, 0)
				pipe.Get(ctx, key("pipe:%d", i))
			}
			return nil
		})
		noError(t, err)
		equal(t, len(replies), 1000)
		for i := range 500 {
			equal(t, replies[2*i+1].(*redis.StringCmd).Val(), fmt.Sprint(i))
		}
	})

	run("transaction", func(t *testing.T, ctx context.Context) {
		var n *redis.IntCmd
		_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, key("tx"), 1, 0)
			n = pipe.Incr(ctx, key("tx"))
			return nil
		})
		noError(t, err)
		equal(t, n.Val(), 2)
	})

	run("watch-conflict", func(t *testing.T, ctx context.Context) {
		set := func(tx *redis.Tx) error {
			_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				return pipe.Set(ctx, key("watched"), 3, 0).Err()
			})
			return err
		}
		err := rdb.Watch(ctx, func(tx *redis.Tx) error {
			noError(t, other.Set(ctx, key("watched"), 2, 0).Err())
			return set(tx)
		}, key("watched"))
		equal(t, errors.Is(err, redis.TxFailedErr), true)
		equal(t, rdb.Get(ctx, key("watched")).Val(), "2")
		noError(t, rdb.Watch(ctx, set, key("watched")))
	})

	run("script-eval", func(t *testing.T, ctx context.Context) {
		got, err := rdb.Eval(ctx, "return {KEYS[1], ARGV[1], #ARGV, {ok='fine'}, false}", []string{key("s")}, "a").Slice()
		noError(t, err)
		equal(t, fmt.Sprint(got), fmt.Sprint([]any{key("s"), "a", 1, "fine", nil}))
		refused(t, rdb.Eval(ctx, "return redis.error_reply('MINE own error')", nil).Err(), "MINE own error")
	})

	run("script-noscript-fallback", func(t *testing.T, ctx context.Context) {
		script := redis.NewScript(newScript())
		err := script.EvalSha(ctx, rdb, []string{key("s")}, "a").Err()
		if !redis.HasErrorPrefix(err, "NOSCRIPT") {
			t.Fatalf("got %v, want NOSCRIPT", err)
		}
		for range 2 {
			got, err := script.Run(ctx, rdb, []string{key("s")}, "a").StringSlice()
			noError(t, err)
			equal(t, got[0]+got[1], key("s")+"a")
		}
	})

	run("pubsub-channel-pattern", func(t *testing.T, ctx context.Context) {
		sub := rdb.Subscribe(ctx, key("one"))
		defer sub.Close()
		_, err := sub.Receive(ctx) // the confirmation
		noError(t, err)
		noError(t, sub.PSubscribe(ctx, key("news:*")))
		_, err = sub.Receive(ctx)
		noError(t, err)
		equal(t, rdb.Publish(ctx, key("one"), everyByte()).Val(), 1)
		equal(t, rdb.Publish(ctx, key("news:x"), "hello").Val(), 1)
		first := receive(t, ctx, sub.Channel())
		equal(t, first.Payload, everyByte())
		second := receive(t, ctx, sub.Channel())
		equal(t, second.Pattern+second.Channel+second.Payload, key("news:*")+key("news:x")+"hello")
	})

	run("pubsub-sharded", func(t *testing.T, ctx context.Context) {
		sub := rdb.SSubscribe(ctx, key("shard"))
		defer sub.Close()
		_, err := sub.Receive(ctx)
		noError(t, err)
		equal(t, rdb.SPublish(ctx, key("shard"), "hello").Val(), 1)
		equal(t, receive(t, ctx, sub.Channel()).Payload, "hello")
	})

	run("reconnect", func(t *testing.T, ctx context.Context) {
		victim := dial(t, target.url()+"/3")
		noError(t, victim.Set(ctx, key("survives"), "yes", 0).Err())
		id := victim.ClientID(ctx).Val()
		equal(t, other.ClientKillByFilter(ctx, "ID", fmt.Sprint(id)).Val(), 1)
		equal(t, victim.Get(ctx, key("survives")).Val(), "yes") // retried, in database 3
		if now := victim.ClientID(ctx).Val(); now <= id {
			t.Fatalf("client id %d after %d", now, id)
		}
	})

	run("reconnect-pubsub", func(t *testing.T, ctx context.Context) {
		named := dialGoRedis(t, target.url(), func(o *redis.Options) {
			speak(o)
			o.ClientName = name + "-subscriber"
		})
		sub := named.Subscribe(ctx, key("kept"))
		defer sub.Close()
		_, err := sub.Receive(ctx)
		noError(t, err)
		noError(t, sub.PSubscribe(ctx, key("kept:*")))
		_, err = sub.Receive(ctx)
		noError(t, err)
		messages := sub.Channel()
		equal(t, other.ClientKillByFilter(ctx, "TYPE", "pubsub", "ID", clientID(t, ctx, other, name+"-subscriber")).Val(), 1)
		eventually(t, ctx, "subscribed again", func() bool { return rdb.Publish(ctx, key("kept"), "again").Val() == 1 })
		equal(t, receive(t, ctx, messages).Payload, "again")
		eventually(t, ctx, "subscribed again", func() bool { return rdb.Publish(ctx, key("kept:x"), "again").Val() == 1 })
		equal(t, receive(t, ctx, messages).Pattern, key("kept:*"))
	})

	run("lock", func(t *testing.T, ctx context.Context) {
		lock := key("lock")
		take := func(c *redis.Client, token string, ttl time.Duration) bool {
			ok, err := c.SetNX(ctx, lock, token, ttl).Result()
			noError(t, err)
			return ok
		}
		noError(t, rdb.Del(ctx, lock).Err())
		equal(t, take(rdb, "a", 30*time.Second), true)
		equal(t, take(other, "b", 30*time.Second), false)
		equal(t, other.Eval(ctx, releaseScript, []string{lock}, "b").Val().(int64), 0)
		equal(t, rdb.Eval(ctx, releaseScript, []string{lock}, "a").Val().(int64), 1)
		equal(t, take(other, "b", 50*time.Millisecond), true)
		eventually(t, ctx, "lock given back", func() bool { return take(rdb, "a", 30*time.Second) })
		noError(t, rdb.Del(ctx, lock).Err())
	})

	run("binary", func(t *testing.T, ctx context.Context) {
		noError(t, rdb.Set(ctx, key("binary:")+everyByte(), everyByte(), 0).Err())
		equal(t, rdb.Get(ctx, key("binary:")+everyByte()).Val(), everyByte())
	})

	run("value-8mb", func(t *testing.T, ctx context.Context) {
		big := bigValue()
		noError(t, rdb.Set(ctx, key("big"), big, 0).Err())
		equal(t, rdb.Get(ctx, key("big")).Val() == big, true)
		equal(t, rdb.Del(ctx, key("big")).Val(), 1)
	})

	run("scan-10000", func(t *testing.T, ctx context.Context) {
		pipe := rdb.Pipeline()
		for i := range scannedKeys {
			pipe.Set(ctx, key("scan:%d", i), i, 0)
		}
		_, err := pipe.Exec(ctx)
		noError(t, err)
		seen := map[string]bool{}
		found := rdb.Scan(ctx, 0, key("scan:*"), 500).Iterator()
		for found.Next(ctx) {
			seen[found.Val()] = true
		}
		noError(t, found.Err())
		equal(t, len(seen), scannedKeys)
	})

	run("counters", func(t *testing.T, ctx context.Context) {
		noError(t, rdb.Del(ctx, key("n")).Err())
		failures := make(chan error, 10)
		for range 10 {
			go func() {
				var err error
				for range 10 {
					err = errors.Join(err, rdb.Incr(ctx, key("n")).Err())
				}
				failures <- err
			}()
		}
		for range 10 {
			noError(t, <-failures)
		}
		equal(t, rdb.IncrBy(ctx, key("n"), 900).Val(), 1000)
		equal(t, rdb.DecrBy(ctx, key("n"), 1001).Val(), -1)
		equal(t, rdb.IncrByFloat(ctx, key("n"), 1.5).Val(), 0.5)
		refused(t, rdb.Incr(ctx, key("n")).Err(), "not an integer")
	})

	run("ttl", func(t *testing.T, ctx context.Context) {
		noError(t, rdb.Set(ctx, key("t"), "v", 100*time.Second).Err())
		if left := rdb.TTL(ctx, key("t")).Val(); left < 99*time.Second || left > 100*time.Second {
			t.Fatalf("ttl %s", left)
		}
		equal(t, rdb.Persist(ctx, key("t")).Val(), true)
		equal(t, rdb.TTL(ctx, key("t")).Val(), -1)
		equal(t, rdb.PExpire(ctx, key("t"), 40*time.Millisecond).Val(), true)
		eventually(t, ctx, "expired", func() bool { return errors.Is(rdb.Get(ctx, key("t")).Err(), redis.Nil) })
		equal(t, rdb.TTL(ctx, key("t")).Val(), -2)
	})
}

// clientID finds the subscriber of that name in CLIENT LIST.
func clientID(t *testing.T, ctx context.Context, c *redis.Client, name string) string {
	t.Helper()
	list, err := c.ClientList(ctx).Result()
	noError(t, err)
	found := regexp.MustCompile(`(?m)^id=(\d+) .* name=` + name + ` .* sub=1 `).FindStringSubmatch(list)
	if found == nil {
		t.Fatalf("no subscriber named %s in\n%s", name, list)
	}
	return found[1]
}
