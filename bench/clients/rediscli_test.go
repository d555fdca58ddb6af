package clients

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// redis-cli as Debian ships it (redis-tools): what people type, and its modes
// that are small programs of their own.
func TestRedisCLI(t *testing.T) {
	t.Parallel()
	const name = "redis-cli"
	key := func(k string) string { return name + ":" + k }
	run := func(label string, body func(t *testing.T, ctx context.Context)) { scenario(t, name, label, body) }
	cli := func(t *testing.T, ctx context.Context, input string, args ...string) string {
		t.Helper()
		cmd := redisCLI(ctx, target.urlOf("default", password), args...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	contains := func(t *testing.T, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Fatalf("got\n%s\nwant %q in it", got, want)
		}
	}

	run("commands", func(t *testing.T, ctx context.Context) {
		equal(t, cli(t, ctx, "", "ping"), "PONG")
		equal(t, cli(t, ctx, "", "set", key("a"), "1"), "OK")
		equal(t, cli(t, ctx, "", "--no-raw", "incr", key("a")), "(integer) 2")
		equal(t, cli(t, ctx, "", "--no-raw", "mget", key("a"), key("none")), "1) \"2\"\n2) (nil)")
		contains(t, cli(t, ctx, "", "nonsense"), "ERR unknown command 'nonsense', with args beginning with:")
		contains(t, cli(t, ctx, "", "-3", "hello"), "proto 3")
		equal(t, cli(t, ctx, "", "-3", "--no-raw", "get", key("none")), "(nil)")
	})

	run("connect", func(t *testing.T, ctx context.Context) {
		equal(t, cli(t, ctx, "", "-n", "3", "set", key("db"), "three"), "OK")
		equal(t, cli(t, ctx, "", "exists", key("db")), "0")
		for url, want := range map[string]string{
			target.urlOf("alice", "secret"):   "OK",
			target.urlOf("reader", "secret2"): "NOPERM",
			target.urlOf("default", "wrong"):  "NOAUTH",
		} {
			out, _ := redisCLI(ctx, url, "set", key("user"), "x").CombinedOutput()
			contains(t, string(out), want)
		}
		// Debian's -u knows no rediss, the flags do.
		tls := exec.CommandContext(ctx, "redis-cli", "--no-auth-warning", "--tls", "--cacert", target.caFile,
			"-h", "localhost", "-p", fmt.Sprint(target.tlsPort), "-a", password, "ping")
		out, err := tls.CombinedOutput()
		noError(t, err)
		equal(t, string(out), "PONG\n")
	})

	run("session", func(t *testing.T, ctx context.Context) {
		typed := fmt.Sprintf("multi\nset %[1]s 1\nincr %[1]s\nexec\nselect 3\nclient getname\n", key("tx"))
		equal(t, cli(t, ctx, typed), "OK\nQUEUED\nQUEUED\nOK\n2\nOK\n")
	})

	run("eval-file", func(t *testing.T, ctx context.Context) {
		equal(t, cli(t, ctx, "return {KEYS[1], ARGV[1]}", "--eval", "/dev/stdin", key("k"), ",", "v"), key("k")+"\nv")
	})

	run("pipe", func(t *testing.T, ctx context.Context) {
		var load strings.Builder
		for i := range 1000 {
			k := key(fmt.Sprintf("pipe:%d", i))
			fmt.Fprintf(&load, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nx\r\n", len(k), k)
		}
		contains(t, cli(t, ctx, load.String(), "--pipe"), "errors: 0, replies: 1000")
	})

	run("scan", func(t *testing.T, ctx context.Context) {
		seen := map[string]bool{}
		for _, k := range strings.Fields(cli(t, ctx, "", "--scan", "--pattern", key("pipe:*"))) {
			seen[k] = true
		}
		equal(t, len(seen), 1000)
	})

	run("bigkeys-memkeys", func(t *testing.T, ctx context.Context) {
		cli(t, ctx, strings.Repeat("x", 1000), "-n", "9", "-x", "set", key("longest"))
		contains(t, cli(t, ctx, "", "-n", "9", "--bigkeys"), `Biggest string found '"redis-cli:longest"' has 1000 bytes`)
		contains(t, cli(t, ctx, "", "-n", "9", "--memkeys"), "Biggest string found")
	})

	run("latency", func(t *testing.T, ctx context.Context) {
		equal(t, len(strings.Fields(cli(t, ctx, "", "--raw", "--latency"))), 4) // min, max, average, samples
	})

	run("monitor-subscribe", func(t *testing.T, ctx context.Context) {
		// Each mode runs until its pipe is closed; its first line says that it listens.
		listen := func(args ...string) *bufio.Scanner {
			ctx, cancel := context.WithCancel(ctx)
			cmd := redisCLI(ctx, target.urlOf("default", password), args...)
			out, err := cmd.StdoutPipe()
			noError(t, err)
			noError(t, cmd.Start())
			t.Cleanup(func() { cancel(); cmd.Wait() })
			return bufio.NewScanner(out)
		}
		until := func(lines *bufio.Scanner, text string) {
			t.Helper()
			for lines.Scan() {
				if strings.Contains(lines.Text(), text) {
					return
				}
			}
			t.Fatalf("no line with %q", text)
		}
		subscriber := listen("psubscribe", key("news:*"))
		until(subscriber, "psubscribe")
		until(subscriber, key("news:*"))
		equal(t, cli(t, ctx, "", "publish", key("news:x"), "extra"), "1")
		until(subscriber, "extra")
		monitor := listen("monitor")
		until(monitor, "OK")
		cli(t, ctx, "", "set", key("watched by monitor"), "x")
		until(monitor, `"set" "`+key("watched by monitor")+`" "x"`)
	})
}

func redisCLI(ctx context.Context, url string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "redis-cli", append([]string{"--no-auth-warning", "-u", url}, args...)...)
}
