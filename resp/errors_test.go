package resp

import (
	"bytes"
	"strings"
	"testing"
)

// Every text that Redis can be brought to say is the one it says.
func TestErrorsAsRedis(t *testing.T) {
	o := startOracle(t)
	long := strings.Repeat("x", 300)
	o.conn.do("SET", "text", "abc")
	o.conn.do("SET", "max", "9223372036854775807")
	o.conn.do("SET", "min", "-9223372036854775808")
	o.conn.do("LPUSH", "list", "a")
	words := func(s ...string) (w [][]byte) {
		for _, word := range s {
			w = append(w, []byte(word))
		}
		return w
	}
	for _, c := range []struct {
		say  []string
		want Reply
	}{
		{[]string{"SET", "k", "v", "xx", "nx"}, ErrSyntax},
		{[]string{"INCR", "text"}, ErrNotInteger},
		{[]string{"INCR", "max"}, ErrIncrOverflow},
		{[]string{"DECR", "min"}, ErrIncrOverflow},
		{[]string{"DECRBY", "text", "-9223372036854775808"}, ErrDecrOverflow},
		{[]string{"INCRBYFLOAT", "text", "1"}, ErrNotFloat},
		{[]string{"INCRBYFLOAT", "k", "inf"}, ErrNaN},
		{[]string{"GET", "list"}, ErrWrongType},
		{[]string{"RENAME", "nothing", "x"}, ErrNoSuchKey},
		{[]string{"LPOP", "list", "-1"}, ErrNotPositive},
		{[]string{"MOVE", "text", "0"}, ErrSameObject},
		{[]string{"COPY", "text", "text"}, ErrSameObject},
		{[]string{"SETRANGE", "k", "-1", "x"}, ErrOffset},
		{[]string{"SETRANGE", "k", "536870912", "x"}, ErrStringTooLong},
		{[]string{"SCAN", "x"}, ErrCursor},
		{[]string{"SELECT", "16"}, ErrDBIndex},
		{[]string{"SELECT", "x"}, ErrNotInteger},
		{[]string{"SWAPDB", "x", "1"}, ErrInvalidDBOne},
		{[]string{"SWAPDB", "1", "x"}, ErrInvalidDBTwo},
		{[]string{"EXPIRE", "text", "1", "NX", "XX"}, ErrExpireNX},
		{[]string{"EXPIRE", "text", "1", "GT", "LT"}, ErrExpireGTLT},
		{[]string{"EXPIRE", "text", "1", "BAD"}, ErrExpireOption([]byte("BAD"))},
		{[]string{"EXPIRE", "text", "9223372036854775807"}, ErrInvalidExpire("expire")},
		{[]string{"SET", "k", "v", "EX", "0"}, ErrInvalidExpire("set")},
		{[]string{"LCS", "text", "text", "LEN", "IDX"}, ErrLCSTwoOptions},
		{[]string{"LCS", "text", "list"}, ErrLCSNotStrings},
		{[]string{"OBJECT", "FREQ", "text"}, ErrNotLFU},
		{[]string{"AUTH", "x"}, ErrNoPassword},
		{[]string{"AUTH", "default", "x", "y"}, ErrSyntax},
		{[]string{"AUTH", "someone", "x"}, ErrWrongPass},
		{[]string{"HELLO", "9"}, ErrNoProto},
		{[]string{"HELLO", "x"}, ErrProtoVersion},
		{[]string{"HELLO", "3", "BAD"}, ErrHelloOption([]byte("BAD"))},
		{[]string{"EXEC"}, ErrExecWithoutMulti},
		{[]string{"DISCARD"}, ErrDiscardWithoutMulti},
		{[]string{"EVALSHA", strings.Repeat("0", 40), "0"}, ErrNoScript},
		{[]string{"SCRIPT", "KILL"}, ErrNotBusy},
		{[]string{"SCRIPT", "FLUSH", "x"}, ErrScriptFlush},
		{[]string{"EVAL", "", "-1"}, ErrKeysNegative},
		{[]string{"EVAL", "", "1"}, ErrKeysTooMany},
		{[]string{"CLIENT", "SETNAME", "a b"}, ErrClientName},
		{[]string{"CLIENT", "KILL", "1.2.3.4:5"}, ErrNoSuchClient},
		{[]string{"CLIENT", "LIST", "ID", "x"}, ErrClientID},
		{[]string{"CLIENT", "KILL", "ID", "-1"}, ErrClientIDPositive},
		{[]string{"CLIENT", "LIST", "TYPE", "x"}, ErrClientType([]byte("x"))},
		{[]string{"CLIENT", "KILL", "USER", "x"}, ErrNoSuchUser([]byte("x"))},
		{[]string{"CLIENT", "PAUSE", "x"}, ErrTimeout},
		{[]string{"CLIENT", "PAUSE", "-1"}, ErrTimeoutNeg},
		{[]string{"CLIENT", "PAUSE", "1", "x"}, ErrPauseMode},
		{[]string{"CLIENT", "UNBLOCK", "1", "x"}, ErrUnblockReason},
		{[]string{"CONFIG", "REWRITE"}, ErrNoConfigFile},
		{[]string{"CONFIG", "SET", "x", "y"}, ErrConfigUnknown([]byte("x"))},
		{[]string{"CONFIG", "SET", "port", "x"}, ErrConfigSet([]byte("port"), "argument couldn't be parsed into an integer")},
		{[]string{"SLOWLOG", "GET", "-2"}, ErrCountNegative},
		{[]string{"COMMAND", "GETKEYS", "x", "y"}, ErrInvalidCommand},
		{[]string{"COMMAND", "GETKEYS", "PING", "x"}, ErrNoKeyArguments},
		{[]string{"COMMAND", "GETKEYS", "GET", "x", "y"}, ErrInvalidNumberArgs},
		{[]string{"COMMAND", "GETKEYS", "ZUNIONSTORE", "x", "9", "y"}, ErrInvalidArgs},
		{[]string{"SHUTDOWN", "ABORT"}, ErrNotStopped},
		{[]string{"GET"}, ErrWrongArity("get")},
		{[]string{"CLIENT", "SETNAME"}, ErrWrongArity("client|setname")},
		{[]string{"CLIENT", "NO\x00SUCH"}, ErrUnknownSubcommand("client", []byte("NO\x00SUCH"))},
		{[]string{"CLIENT", long}, ErrUnknownSubcommand("client", []byte(long))},
		{[]string{"PUBSUB", "CHANNELS", "a", "b"}, ErrSubcommandSyntax("pubsub", []byte("CHANNELS"))},
		{[]string{"nope"}, ErrUnknownCommand(words("nope"))},
		{[]string{long, long}, ErrUnknownCommand(words(long, long))},
		{[]string{"nope", "a\r\nb", "", "c\x00d", long}, ErrUnknownCommand(words("nope", "a\r\nb", "", "c\x00d", long))},
		{[]string{"no\r\npe", "\r"}, ErrUnknownCommand(words("no\r\npe", "\r"))},
		{append([]string{"nope"}, strings.Split(strings.Repeat("ab ", 99), " ")...), ErrUnknownCommand(words(append([]string{"nope"}, strings.Split(strings.Repeat("ab ", 99), " ")...)...))},
		{[]string{"nope", strings.Repeat("y", 126), "z"}, ErrUnknownCommand(words("nope", strings.Repeat("y", 126), "z"))},
		{[]string{"nope", strings.Repeat("y", 124), "zz"}, ErrUnknownCommand(words("nope", strings.Repeat("y", 124), "zz"))},
	} {
		o.conn.do(c.say...)
		if got := Append(nil, c.want, 2); !bytes.Equal(got, o.conn.log) {
			t.Errorf("%.100q: Redis says\n%q, we say\n%q", c.say, o.conn.log, got)
		}
	}
	conversation := func(what string, want Reply, say ...[]string) {
		t.Helper()
		c := o.dial(t)
		for _, words := range say {
			c.do(words...)
		}
		if got := Append(nil, want, 2); !bytes.Equal(got, c.log) {
			t.Errorf("%s: Redis says %q, we say %q", what, c.log, got)
		}
	}
	conversation("nested", ErrNestedMulti, []string{"MULTI"}, []string{"MULTI"})
	conversation("watch", ErrWatchInMulti, []string{"MULTI"}, []string{"WATCH", "k"})
	conversation("abort", ErrExecAbort, []string{"MULTI"}, []string{"GET"}, []string{"EXEC"})
	conversation("no-multi", ErrNotInMulti, []string{"MULTI"}, []string{"SHUTDOWN", "ABORT"})
	conversation("subscribed", ErrSubscribed("get"), []string{"SUBSCRIBE", "c"}, []string{"GET", "k"})
	conversation("subscribed", ErrSubscribed("client|id"), []string{"SUBSCRIBE", "c"}, []string{"CLIENT", "ID"})
	o.conn.do("ACL", "SETUSER", "small", "on", "nopass", "+get", "+publish", "+multi", "+exec", "~a*", "resetchannels")
	conversation("command", ErrNoPerm("small", "set"), []string{"AUTH", "small", "x"}, []string{"SET", "a", "b"})
	conversation("subcommand", ErrNoPerm("small", "client|id"), []string{"AUTH", "small", "x"}, []string{"CLIENT", "ID"})
	conversation("key", ErrNoPermKeys, []string{"AUTH", "small", "x"}, []string{"GET", "b"})
	conversation("channel", ErrNoPermChannels, []string{"AUTH", "small", "x"}, []string{"PUBLISH", "b", "c"})
	o.conn.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
	conversation("lfu", ErrIsLFU, []string{"OBJECT", "IDLETIME", "text"})
	o.conn.do("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
	conversation("oom", ErrOOM, []string{"SET", "k", "v"})
	o.conn.do("CONFIG", "SET", "maxmemory", "0", "requirepass", "secret")
	conversation("auth", ErrNoAuth, []string{"GET", "k"})
	conversation("hello", ErrNoAuthHello, []string{"HELLO", "3"})
}
