package server_test

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"crema/server"
)

// What a random command is answered over HTTP, alone, in a pipeline or in a
// transaction, in JSON, base64 or RESP2, is what another server answers
// over TCP that was told the same.
func TestRESTDifferential(t *testing.T) {
	frozen := time.UnixMilli(1_700_000_000_000)
	cfg := talksHTTP
	cfg.Now = func() time.Time { return frozen }
	compareOverHTTP(t, serving(t, cfg), connect(t, serving(t, server.Config{Now: cfg.Now}).Addr()), 300)
}

// So it is through a follower.
func TestRESTDifferentialThroughFollower(t *testing.T) {
	frozen := time.UnixMilli(1_700_000_000_000)
	cfg := talksHTTP
	cfg.Now = func() time.Time { return frozen }
	g := startGroup(t, 3, cfg)
	compareOverHTTP(t, g.members[1].srv, connect(t, serving(t, server.Config{Now: cfg.Now}).Addr()), 60)
}

func compareOverHTTP(t *testing.T, srv *server.Server, tcp *client, batches int) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1_000_000_000)
	}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	r := restOf(t, srv)
	words := newGenerator(seed, 0)
	rng := rand.New(rand.NewPCG(seed, 1))
	said := 0
	for range batches {
		var commands [][]string
		for range 1 + rng.IntN(20) {
			w := words.words("line")
			if sameEverywhere(w) {
				commands = append(commands, w)
			}
		}
		if len(commands) == 0 {
			continue
		}
		said += len(commands)
		single, atomic := len(commands) == 1, rng.IntN(4) == 0
		format := rng.IntN(3)
		path, headers := "/pipeline", [][]string{nil, {"Upstash-Encoding", "base64"}, {"Upstash-Response-Format", "resp2"}}[format]
		body := jsonOf(commands)
		switch {
		case single:
			path, body, atomic = "/", jsonOf(commands[0]), false
		case atomic:
			path, headers, format = "/multi-exec", nil, 0
		}
		began := time.Now()
		got := r.send("POST", path, body, headers...)
		if atomic && got.code != 200 {
			continue // refused as a whole: TestRESTCommands
		}
		var replies []frame
		raw := ""
		if atomic {
			tcp.do("MULTI")
			for _, w := range commands {
				tcp.do(w...)
			}
			replies = tcp.do("EXEC").frame.elems
		} else {
			for _, w := range commands {
				one := tcp.do(w...)
				if one.failure != "" {
					t.Fatalf("%q over TCP: %s", w, one.failure)
				}
				replies = append(replies, one.frame)
				raw += string(one.raw)
			}
		}
		if time.Since(began) > 400*time.Millisecond { // enough for a key to have another time to live
			r.send("POST", "/", `["flushall"]`)
			tcp.do("FLUSHALL")
			continue
		}
		want := raw
		if format != 2 {
			var items []string
			for _, f := range replies {
				items = append(items, itemOf(f, format == 1))
			}
			if want = "[" + strings.Join(items, ",") + "]"; single {
				want = items[0]
			}
		}
		if same := got.body == want || format != 2 && sameJSON(got.body, want); !same {
			t.Errorf("%s %q\ngot  %q\nwant %q", path, commands, got.body, want)
			return
		}
	}
	t.Logf("%d commands, seed %d", said, seed)
}

// sameEverywhere leaves out what depends on the server or needs a connection.
func sameEverywhere(words []string) bool {
	for _, w := range words { // inside a script, too
		switch strings.ToUpper(w) {
		case "SELECT", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "WAIT", "RANDOMKEY", "KEYS", "SCAN", "COMMAND", "CLIENT", "RESET", "QUIT", "HELLO", "AUTH":
			return false
		case "PTTL", "PEXPIRETIME": // within a batch time goes on
			return false
		}
	}
	for _, w := range words {
		if !utf8.ValidString(w) { // encoding/json here would not send it
			return false
		}
	}
	return true
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// itemOf is what a reply is to look like in JSON.
func itemOf(f frame, b64 bool) string {
	if f.kind == '-' {
		return `{"error":` + jsonOf(f.text) + `}`
	}
	return `{"result":` + jsonOf(valueOf(f, b64, true)) + `}`
}

func valueOf(f frame, b64, top bool) any {
	switch {
	case f.null:
		return nil
	case f.kind == ':':
		return json.Number(f.text)
	case f.kind == '*':
		list := make([]any, len(f.elems))
		for i, e := range f.elems {
			list[i] = valueOf(e, b64, false)
		}
		return list
	case b64 && f.kind != '-' && !(top && f.text == "OK"):
		return base64.StdEncoding.EncodeToString([]byte(f.text))
	}
	return f.text
}

// sameJSON compares values, for escapes may differ.
func sameJSON(a, b string) bool {
	var list [2]any
	for i, text := range []string{a, b} {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(&list[i]) != nil || d.More() {
			return false
		}
	}
	return slices.Equal([]byte(jsonOf(list[0])), []byte(jsonOf(list[1])))
}
