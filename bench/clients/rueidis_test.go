package clients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

func dialRueidis(t *testing.T, url string, change func(*rueidis.ClientOption)) (rueidis.Client, error) {
	t.Helper()
	options, err := rueidis.ParseURL(url)
	noError(t, err)
	if change != nil {
		change(&options)
	}
	client, err := rueidis.NewClient(options)
	if err == nil {
		t.Cleanup(client.Close)
	}
	return client, err
}

// With its default options rueidis opens in RESP3 and turns on CLIENT TRACKING
// OPTIN; a server that refuses either is refused in turn.
func TestRueidis(t *testing.T) {
	t.Parallel()
	testRueidis(t, "rueidis", nil)
	testRueidisCaching(t)
}

func TestRueidisWithoutCaching(t *testing.T) {
	t.Parallel()
	testRueidis(t, "rueidis-nocache", func(o *rueidis.ClientOption) { o.DisableCache = true })
}

func TestRueidisRESP2(t *testing.T) {
	t.Parallel()
	testRueidis(t, "rueidis-resp2", func(o *rueidis.ClientOption) { o.DisableCache, o.AlwaysRESP2 = true, true })
}

func testRueidis(t *testing.T, name string, change func(*rueidis.ClientOption)) {
	key := func(format string, args ...any) string { return name + ":" + fmt.Sprintf(format, args...) }
	run := func(label string, body func(t *testing.T, ctx context.Context)) { scenario(t, name, label, body) }
	dial := func(t *testing.T, url string) rueidis.Client {
		t.Helper()
		client, err := dialRueidis(t, url, change)
		noError(t, err)
		return client
	}
	c, other := dial(t, target.url()), dial(t, target.url())

	run("connect-password", func(t *testing.T, ctx context.Context) {
		equal(t, answer(t, c, ctx, "PING"), "PONG")
		_, err := dialRueidis(t, target.urlOf("", "wrong"), change)
		refused(t, err, "WRONGPASS")
	})

	run("connect-user", func(t *testing.T, ctx context.Context) {
		alice, reader := dial(t, target.urlOf("alice", "secret")), dial(t, target.urlOf("reader", "secret2"))
		equal(t, answer(t, alice, ctx, "SET", key("alice"), "here"), "OK")
		equal(t, answer(t, reader, ctx, "GET", key("alice")), "here")
		refused(t, reader.Do(ctx, reader.B().Set().Key(key("alice")).Value("gone").Build()).Error(), "NOPERM")
	})

	run("connect-tls", func(t *testing.T, ctx context.Context) {
		secure, err := dialRueidis(t, target.tlsURL(), func(o *rueidis.ClientOption) {
			if change != nil {
				change(o)
			}
			o.TLSConfig = trusted(t)
		})
		noError(t, err)
		equal(t, answer(t, secure, ctx, "SET", key("tls"), "sealed"), "OK")
		equal(t, answer(t, c, ctx, "GET", key("tls")), "sealed")
	})

	run("connect-database", func(t *testing.T, ctx context.Context) {
		three := dial(t, target.url()+"/3")
		answer(t, c, ctx, "SET", key("db"), "zero")
		three.Do(ctx, three.B().Del().Key(key("db")).Build())
		if err := three.Do(ctx, three.B().Get().Key(key("db")).Build()).Error(); !rueidis.IsRedisNil(err) {
			t.Fatalf("got %v, want nil", err)
		}
		answer(t, three, ctx, "SET", key("db"), "three")
		equal(t, answer(t, c, ctx, "GET", key("db")), "zero")
	})

	run("pipeline", func(t *testing.T, ctx context.Context) {
		var commands rueidis.Commands
		for i := range 500 {
			commands = append(commands,
				c.B().Set().Key(key("pipe:%d", i)).Value(fmt.Sprint(i)).Build(),
				c.B().Get().Key(key("pipe:%d", i)).Build())
		}
		for i, reply := range c.DoMulti(ctx, commands...) {
			got, err := reply.ToString()
			noError(t, err)
			want := "OK"
			if i%2 == 1 {
				want = fmt.Sprint(i / 2)
			}
			equal(t, got, want)
		}
	})

	run("transaction-watch", func(t *testing.T, ctx context.Context) {
		conflicting := func(meanwhile func()) rueidis.RedisResult {
			var last rueidis.RedisResult
			noError(t, c.Dedicated(func(d rueidis.DedicatedClient) error {
				noError(t, d.Do(ctx, d.B().Watch().Key(key("watched")).Build()).Error())
				meanwhile()
				replies := d.DoMulti(ctx,
					d.B().Multi().Build(),
					d.B().Set().Key(key("watched")).Value("1").Build(),
					d.B().Incr().Key(key("watched")).Build(),
					d.B().Exec().Build())
				last = replies[3]
				return nil
			}))
			return last
		}
		undisturbed, err := conflicting(func() {}).ToArray()
		noError(t, err)
		n, err := undisturbed[1].ToInt64()
		noError(t, err)
		equal(t, n, 2)
		disturbed := conflicting(func() { answer(t, other, ctx, "SET", key("watched"), "theirs") })
		if !rueidis.IsRedisNil(disturbed.Error()) {
			t.Fatalf("got %v, want nil", disturbed.Error())
		}
		equal(t, answer(t, c, ctx, "GET", key("watched")), "theirs")
	})

	run("script-noscript-fallback", func(t *testing.T, ctx context.Context) {
		// Exec sends EVALSHA and, after NOSCRIPT, EVAL.
		script := rueidis.NewLuaScript(newScript())
		for range 2 {
			got, err := script.Exec(ctx, c, []string{key("s")}, []string{"a"}).AsStrSlice()
			noError(t, err)
			equal(t, got[0]+got[1], key("s")+"a")
		}
	})

	// Subscribes on a connection of its own and returns when that is confirmed.
	subscribe := func(t *testing.T, ctx context.Context, from rueidis.Client, command rueidis.Completed) <-chan rueidis.PubSubMessage {
		t.Helper()
		messages, confirmed := make(chan rueidis.PubSubMessage, 16), make(chan struct{}, 16)
		ctx = rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) { confirmed <- struct{}{} })
		go from.Receive(ctx, command, func(m rueidis.PubSubMessage) { messages <- m })
		receive(t, ctx, confirmed)
		return messages
	}

	run("pubsub-channel", func(t *testing.T, ctx context.Context) {
		messages := subscribe(t, ctx, c, c.B().Subscribe().Channel(key("one")).Build())
		equal(t, answer(t, other, ctx, "PUBLISH", key("one"), everyByte()), "1")
		equal(t, receive(t, ctx, messages).Message, everyByte())
	})

	run("pubsub-pattern", func(t *testing.T, ctx context.Context) {
		messages := subscribe(t, ctx, c, c.B().Psubscribe().Pattern(key("news:*")).Build())
		equal(t, answer(t, other, ctx, "PUBLISH", key("news:x"), "hello"), "1")
		got := receive(t, ctx, messages)
		equal(t, got.Pattern+got.Channel+got.Message, key("news:*")+key("news:x")+"hello")
	})

	run("pubsub-sharded", func(t *testing.T, ctx context.Context) {
		messages := subscribe(t, ctx, c, c.B().Ssubscribe().Channel(key("shard")).Build())
		equal(t, answer(t, other, ctx, "SPUBLISH", key("shard"), "hello"), "1")
		equal(t, receive(t, ctx, messages).Message, "hello")
	})

	run("reconnect", func(t *testing.T, ctx context.Context) {
		victim := dial(t, target.url()+"/3")
		answer(t, victim, ctx, "SET", key("survives"), "yes")
		id := answer(t, victim, ctx, "CLIENT", "ID")
		equal(t, answer(t, other, ctx, "CLIENT", "KILL", "ID", id), "1")
		got, err := victim.Do(ctx, victim.B().Get().Key(key("survives")).Build()).ToString() // reads are retried
		noError(t, err)
		equal(t, got, "yes")
	})

	run("lock", func(t *testing.T, ctx context.Context) {
		lock, release := key("lock"), rueidis.NewLuaScript(releaseScript)
		take := func(from rueidis.Client, token string, ttl time.Duration) bool {
			err := from.Do(ctx, from.B().Set().Key(lock).Value(token).Nx().Px(ttl).Build()).Error()
			if err != nil && !rueidis.IsRedisNil(err) {
				t.Fatal(err)
			}
			return err == nil
		}
		released := func(from rueidis.Client, token string) int64 {
			n, err := release.Exec(ctx, from, []string{lock}, []string{token}).ToInt64()
			noError(t, err)
			return n
		}
		answer(t, c, ctx, "DEL", lock)
		equal(t, take(c, "a", 30*time.Second), true)
		equal(t, take(other, "b", 30*time.Second), false)
		equal(t, released(other, "b"), 0)
		equal(t, released(c, "a"), 1)
		equal(t, take(other, "b", 50*time.Millisecond), true)
		eventually(t, ctx, "lock given back", func() bool { return take(c, "a", 30*time.Second) })
		equal(t, released(c, "a"), 1)
	})

	run("binary", func(t *testing.T, ctx context.Context) {
		equal(t, answer(t, c, ctx, "SET", key("binary:")+everyByte(), everyByte()), "OK")
		equal(t, answer(t, c, ctx, "GET", key("binary:")+everyByte()), everyByte())
	})

	run("value-8mb", func(t *testing.T, ctx context.Context) {
		big := bigValue()
		equal(t, answer(t, c, ctx, "SET", key("big"), big), "OK")
		equal(t, answer(t, c, ctx, "GET", key("big")) == big, true)
		equal(t, answer(t, c, ctx, "DEL", key("big")), "1")
	})

	run("scan-10000", func(t *testing.T, ctx context.Context) {
		var commands rueidis.Commands
		for i := range scannedKeys {
			commands = append(commands, c.B().Set().Key(key("scan:%d", i)).Value("x").Build())
		}
		for _, reply := range c.DoMulti(ctx, commands...) {
			noError(t, reply.Error())
		}
		seen := map[string]bool{}
		scanner := rueidis.NewScanner(func(cursor uint64) (rueidis.ScanEntry, error) {
			return c.Do(ctx, c.B().Scan().Cursor(cursor).Match(key("scan:*")).Count(500).Build()).AsScanEntry()
		})
		for k := range scanner.Iter() {
			seen[k] = true
		}
		noError(t, scanner.Err())
		equal(t, len(seen), scannedKeys)
	})

	run("counters-ttl", func(t *testing.T, ctx context.Context) {
		answer(t, c, ctx, "DEL", key("n"))
		for i := range 100 {
			equal(t, answer(t, c, ctx, "INCR", key("n")), fmt.Sprint(i+1))
		}
		equal(t, answer(t, c, ctx, "PEXPIRE", key("n"), "100000"), "1")
		equal(t, answer(t, c, ctx, "PERSIST", key("n")), "1")
		equal(t, answer(t, c, ctx, "TTL", key("n")), "-1")
		equal(t, answer(t, c, ctx, "PEXPIRE", key("n"), "40"), "1")
		eventually(t, ctx, "expired", func() bool { return answer(t, c, ctx, "EXISTS", key("n")) == "0" })
	})
}

// testRueidisCaching reads through the client's own cache, which the server
// must tell of every change, whoever makes it.
func testRueidisCaching(t *testing.T) {
	const name = "rueidis-caching"
	url := target.url() + "/14" // a database of its own, to be flushed
	invalidated := make(chan string, 1024)
	c, err := dialRueidis(t, url, func(o *rueidis.ClientOption) {
		o.OnInvalidations = func(keys []rueidis.RedisMessage) {
			for _, key := range keys {
				k, _ := key.ToString()
				invalidated <- k
			}
		}
	})
	noError(t, err)
	other, err := dialRueidis(t, url, func(o *rueidis.ClientOption) { o.DisableCache = true })
	noError(t, err)
	// cached reads a key and says whether the answer came from the client's cache.
	cached := func(t *testing.T, ctx context.Context, key string) (string, bool) {
		t.Helper()
		reply := c.DoCache(ctx, c.B().Get().Key(key).Cache(), time.Minute)
		got, err := reply.ToString()
		if rueidis.IsRedisNil(err) {
			return "(nil)", reply.IsCacheHit()
		}
		noError(t, err)
		return got, reply.IsCacheHit()
	}
	// warm reads until the answer comes from the client's cache.
	warm := func(t *testing.T, ctx context.Context, key, want string) {
		t.Helper()
		eventually(t, ctx, "answered by the client's cache", func() bool {
			got, hit := cached(t, ctx, key)
			equal(t, got, want)
			return hit
		})
	}
	awaitInvalidation := func(t *testing.T, ctx context.Context, key string) {
		t.Helper()
		for receive(t, ctx, invalidated) != key {
		}
	}
	key := func(k string) string { return name + ":" + k }

	for label, change := range map[string][]string{
		"set":    {"SET", key("set"), "after"},
		"del":    {"DEL", key("del")},
		"rename": {"RENAME", key("rename"), key("elsewhere")},
		"expire": {"PEXPIRE", key("expire"), "100000"},
		"script": {"EVAL", "return redis.call('SET', KEYS[1], 'after')", "1", key("script")},
	} {
		scenario(t, name, "invalidated-by-"+label, func(t *testing.T, ctx context.Context) {
			answer(t, other, ctx, "SET", key(label), "before")
			warm(t, ctx, key(label), "before")
			answer(t, other, ctx, change...)
			awaitInvalidation(t, ctx, key(label))
			want := map[string]string{"set": "after", "script": "after", "expire": "before"}[label]
			if want == "" {
				want = "(nil)"
			}
			warm(t, ctx, key(label), want)
		})
	}

	scenario(t, name, "invalidated-by-end-of-ttl", func(t *testing.T, ctx context.Context) {
		answer(t, other, ctx, "SET", key("ttl"), "before", "PX", "300")
		warm(t, ctx, key("ttl"), "before")
		eventually(t, ctx, "expired", func() bool {
			got, _ := cached(t, ctx, key("ttl"))
			return got == "(nil)"
		})
	})

	scenario(t, name, "invalidated-by-own-write", func(t *testing.T, ctx context.Context) {
		answer(t, c, ctx, "SET", key("own"), "before")
		warm(t, ctx, key("own"), "before")
		answer(t, c, ctx, "SET", key("own"), "after")
		awaitInvalidation(t, ctx, key("own"))
		warm(t, ctx, key("own"), "after")
	})

	scenario(t, name, "many-at-once", func(t *testing.T, ctx context.Context) {
		for i := range 100 {
			answer(t, other, ctx, "SET", key(fmt.Sprint(i)), fmt.Sprint(i))
		}
		for range 2 {
			var reads []rueidis.CacheableTTL // each may be used once
			for i := range 100 {
				reads = append(reads, rueidis.CT(c.B().Get().Key(key(fmt.Sprint(i))).Cache(), time.Minute))
			}
			for i, reply := range c.DoMultiCache(ctx, reads...) {
				got, err := reply.ToString()
				noError(t, err)
				equal(t, got, fmt.Sprint(i))
			}
		}
		for i := range 100 {
			warm(t, ctx, key(fmt.Sprint(i)), fmt.Sprint(i))
		}
	})

	scenario(t, name, "invalidated-by-flushdb", func(t *testing.T, ctx context.Context) {
		answer(t, other, ctx, "SET", key("flush"), "before")
		warm(t, ctx, key("flush"), "before")
		answer(t, other, ctx, "FLUSHDB")
		// The client has several connections, and each is told by itself.
		eventually(t, ctx, "forgotten", func() bool {
			got, _ := cached(t, ctx, key("flush"))
			return got == "(nil)"
		})
	})
}

// answer sends one command and returns its reply as text.
func answer(t *testing.T, from rueidis.Client, ctx context.Context, command ...string) string {
	t.Helper()
	reply, err := from.Do(ctx, from.B().Arbitrary(command...).Build()).ToMessage()
	noError(t, err)
	if reply.IsInt64() {
		n, err := reply.ToInt64()
		noError(t, err)
		return fmt.Sprint(n)
	}
	s, err := reply.ToString()
	noError(t, err)
	return s
}
