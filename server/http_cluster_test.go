package server_test

import (
	"strings"
	"testing"

	"crema/server"
)

// Any node of a cluster serves HTTP as any other does.
func TestRESTThroughFollower(t *testing.T) {
	for _, consistency := range []string{"linearizable", "lease", "local"} {
		cfg := talksHTTP
		cfg.ReadConsistency = consistency
		g := startGroup(t, 3, cfg)
		tcp := connect(t, g.members[0].srv.Addr())
		for _, m := range g.members {
			r := restOf(t, m.srv)
			r.want("POST", "/pipeline", `[["set","k","v"],["incr","n"],["decr","n"],["nosuch"],["get","k"]]`, 200,
				`[{"result":"OK"},{"result":1},{"result":0},{"error":"ERR unknown command 'nosuch', with args beginning with: "},{"result":"v"}]`)
			r.want("POST", "/multi-exec", `[["set","k","w"],["incr","k"],["get","k"]]`, 200,
				`[{"result":"OK"},{"error":"ERR value is not an integer or out of range"},{"result":"w"}]`)
			if got := tcp.do("GET", "k").frame.text; got != "w" {
				t.Errorf("%s: the leader has %q", consistency, got)
			}
			r.token = restReadOnly
			for _, words := range []string{`["eval","return redis.call('set','k','x')",0]`, `["eval","return redis.call('keys','*')",0]`, `["eval_ro","return redis.call('dbsize')",0]`} {
				if got := r.send("POST", "/", words); got.code != 400 {
					t.Errorf("%s: %s with the read-only token: %d %s", consistency, words, got.code, got.body)
				}
			}
		}
		// What is written through one node is read with its token through any.
		sync := ""
		for i, m := range g.members {
			r := restOf(t, m.srv)
			value := strings.Repeat("x", i+1)
			got := r.send("POST", "/", `["set","sync","`+value+`"]`, "Upstash-Sync-Token", sync)
			next := got.header.Get("Upstash-Sync-Token")
			if next == sync || strings.HasPrefix(next, "0-") {
				t.Errorf("%s: sync token %q after %q", consistency, next, sync)
			}
			sync = next
			for _, other := range g.members {
				restOf(t, other.srv).want("POST", "/", `["get","sync"]`, 200, `{"result":"`+value+`"}`, "Upstash-Sync-Token", sync)
			}
		}
	}
}

// A read that shows a sync token is verified, whatever read-consistency says and
// whichever node it is asked of; one without is not where it need not be.
func TestRESTSyncTokenVerifies(t *testing.T) {
	for _, consistency := range []string{"lease", "local"} {
		cfg := talksHTTP
		cfg.ReadConsistency = consistency
		g := startGroup(t, 3, cfg)
		verified := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.verified
		}
		for i, m := range g.members {
			r := restOf(t, m.srv)
			sync := r.want("POST", "/", `["set","k","v"]`, 200, `{"result":"OK"}`).header.Get("Upstash-Sync-Token")
			before := verified()
			r.want("POST", "/pipeline", `[["get","k"]]`, 200, `[{"result":"v"}]`)
			r.want("POST", "/pipeline", `[["get","k"]]`, 200, `[{"result":"v"}]`, "Upstash-Sync-Token", "")
			if n := verified() - before; n != 0 {
				t.Errorf("%s, node %d: %d rounds for reads without a token", consistency, i, n)
			}
			r.want("POST", "/pipeline", `[["get","k"]]`, 200, `[{"result":"v"}]`, "Upstash-Sync-Token", sync)
			if n := verified() - before; n != 1 {
				t.Errorf("%s, node %d: %d rounds for a read with the token %s", consistency, i, n, sync)
			}
		}
	}
}

// Streams hear what is published on any node.
func TestRESTStreamsAcrossNodes(t *testing.T) {
	g := startGroup(t, 3, talksHTTP)
	var streams []*reading
	for _, m := range g.members {
		s := restOf(t, m.srv).listen("/subscribe/c")
		s.want("data: subscribe,c,1")
		streams = append(streams, s)
	}
	for _, m := range g.members {
		restOf(t, m.srv).want("POST", "/publish/c/hello", "", 200, `{"result":3}`)
		for _, s := range streams {
			s.want("data: message,c,hello")
		}
	}
}

// Without a leader a request is told so within a bounded time, in JSON.
func TestRESTWithoutLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits as long as a command is held")
	}
	cfg := server.Config{HTTPPort: -1, RESTToken: restToken}
	g := startGroup(t, 3, cfg)
	g.lead(-1)
	got := restOf(t, g.members[1].srv).send("POST", "/", `["set","k","v"]`)
	if got.code != 503 || !strings.Contains(got.body, `{"error":"CLUSTERDOWN`) {
		t.Errorf("%d %s", got.code, got.body)
	}
}
