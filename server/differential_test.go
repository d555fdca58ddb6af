package server_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"crema/resp"
)

var (
	seedFlag      = flag.Uint64("seed", 0, "seed of the random sequences (0: a new one)")
	firstFlag     = flag.Int("first-sequence", 0, "the first one to make, to see one again")
	sequencesFlag = flag.Int("sequences", 0, "how many random sequences (0: as many as fit in -random-for)")
	randomFor     = flag.Duration("random-for", 15*time.Second, "how long random sequences are made")
)

const (
	sequenceLength = 200
	mostFailures   = 3 // so many are shrunk and shown
)

// said is one command of a random sequence.
type said struct {
	client string // "a" or "b"
	words  []string
}

// sequence is what two clients say to a fresh server, and a third may hear.
type sequence struct {
	resp3    bool // client a speaks RESP3
	events   bool // client e hears every keyspace event
	pipeline bool // what a client says until the other one speaks is sent in one write
	session  bool // subscriptions and the like: both clients may hear something after each line
	lines    []said
}

// Random commands of all families are said to crema and to Redis by two
// clients in turn. Every reply, and in a third of the sequences every keyspace
// event, must be the same bytes. A sequence that ends in a difference is made
// as short as it can be and printed as a conversation.
func TestDifferential(t *testing.T) {
	oracle := newTarget(t, "redis", startOracle(t))
	crema := cremas(t)[0]
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1_000_000_000)
	}
	start := time.Now()
	n, failures := *firstFlag, 0
	for ; failures < mostFailures; n++ {
		if *sequencesFlag > 0 && n-*firstFlag == *sequencesFlag || *sequencesFlag == 0 && time.Since(start) > *randomFor {
			break
		}
		seq := randomSequence(seed, uint64(n))
		began := time.Now()
		at, err := duel(oracle, crema, seq)
		if at >= 0 && err == nil && time.Since(began) > 2*time.Second { // one may have stood still between the other's clock and its own
			at, err = duel(oracle, crema, seq)
		}
		if err != nil {
			t.Fatalf("seed %d, sequence %d: %v", seed, n, err)
		}
		if at < 0 {
			continue
		}
		failures++
		seq.lines = seq.lines[:at+1]
		if !pong(crema.addr) || crema.tryReset(false) != nil {
			t.Fatalf("seed %d, sequence %d: %s answers no more after\n%s\n%s", seed, n, crema.name, seq, stuck())
		}
		short := shrink(oracle, crema, seq)
		t.Errorf("seed %d, sequence %d: as a conversation, with Redis's replies:\n\n%s", seed, n, retell(oracle, crema, short, seed, n))
	}
	t.Logf("%d sequences of %d commands, seed %d, %s", n-*firstFlag, sequenceLength, seed, time.Since(start).Round(time.Millisecond))
}

// String is what is said, a line each.
func (seq sequence) String() string {
	var b strings.Builder
	for _, line := range seq.lines {
		b.WriteString(line.String() + "\n")
	}
	return b.String()
}

func (s said) String() string {
	words := make([]string, len(s.words))
	for i, w := range s.words {
		words[i] = word(w)
	}
	return s.client + "> " + strings.Join(words, " ")
}

func randomSequence(seed, n uint64) sequence {
	g := newGenerator(seed, n)
	seq := sequence{resp3: g.rng.IntN(3) == 0, events: g.rng.IntN(3) == 0, pipeline: g.rng.IntN(3) == 0}
	rule := "line"
	if g.rng.IntN(4) == 0 {
		seq.session, seq.pipeline, rule = true, false, "session"
	}
	client := "a"
	for range sequenceLength {
		if g.rng.IntN(4) == 0 {
			client = map[string]string{"a": "b", "b": "a"}[client]
		}
		seq.lines = append(seq.lines, said{client, g.words(rule)})
	}
	return seq
}

// fighter is one server's side of a sequence.
type fighter struct {
	clients map[string]*client
	queued  map[string][]rule // of the commands in each client's MULTI
}

// enter opens the clients of a sequence on an empty server.
func (seq sequence) enter(tg *target) (*fighter, error) {
	f := &fighter{clients: map[string]*client{}, queued: map[string][]rule{}}
	flags := ""
	if seq.events {
		flags = "KEA"
	}
	for _, words := range [][]string{{"FLUSHALL"}, {"CONFIG", "SET", "notify-keyspace-events", flags}} {
		if got := tg.control.do(words...).text(); got != "OK" {
			return f, fmt.Errorf("%s: %s: %s", tg.name, strings.Join(words, " "), got)
		}
	}
	for _, name := range []string{"a", "b", "e"} {
		c, err := dial(tg.addr)
		if err != nil {
			return f, fmt.Errorf("%s: %w", tg.name, err)
		}
		f.clients[name] = c
	}
	if seq.resp3 {
		f.clients["a"].do("HELLO", "3")
	}
	if seq.events {
		f.clients["e"].do("PSUBSCRIBE", "__key*")
	}
	return f, nil
}

func (f *fighter) leave() {
	for _, c := range f.clients {
		c.conn.Close()
	}
}

// duel plays a sequence on both servers and gives the index of the first line
// that they answer differently, -1 if there is none.
func duel(oracle, crema *target, seq sequence) (int, error) {
	x, errX := seq.enter(oracle)
	defer x.leave()
	y, errY := seq.enter(crema)
	defer y.leave()
	if errX != nil || errY != nil {
		return 0, fmt.Errorf("%v %v", errX, errY)
	}
	if seq.session {
		for i, line := range seq.lines {
			if want, got := x.say(line), y.say(line); want != got {
				return i, nil
			}
		}
		return -1, nil
	}
	for from := 0; from < len(seq.lines); {
		to := from + 1
		for seq.pipeline && to < len(seq.lines) && seq.lines[to].client == seq.lines[from].client {
			to++
		}
		var message []byte
		for _, line := range seq.lines[from:to] {
			message = append(message, encodeCommand(line.words)...)
		}
		a, b := x.clients[seq.lines[from].client], y.clients[seq.lines[from].client]
		a.send(message)
		b.send(message)
		for ; from < to; from++ {
			want, got := a.read(), b.read()
			if x.queue(seq.lines[from], want).differ(want, got) != "" {
				return from, nil
			}
		}
		if seq.events && !bytes.Equal(x.clients["e"].drain().raw, y.clients["e"].drain().raw) {
			return to - 1, nil
		}
	}
	return -1, nil
}

// say is one line of a session: everything that the two clients hear then,
// written as a conversation.
func (f *fighter) say(line said) string {
	f.clients[line.client].send(encodeCommand(line.words))
	var b strings.Builder
	fmt.Fprintf(&b, "! no-reply\n%s", line)
	r := ruleFor(line.words)
	// The other one is asked when the speaker has been answered: before that it
	// may or may not have heard.
	for _, name := range []string{line.client, map[string]string{"a": "b", "b": "a"}[line.client]} {
		heard := f.clients[name].drain()
		for i, elem := range heard.frame.elems {
			if r.sorted && elem.kind == '*' {
				heard.frame.elems[i] = elem.sorted()
			}
			if r.shape && elem.kind != '-' && elem.kind != '>' {
				heard.frame.elems[i] = elem.shape()
			}
		}
		if len(heard.frame.elems) > 1 {
			heard.frame = heard.frame.sorted() // a message that matches two patterns comes in either order
			b.WriteString("\n! sorted")
		}
		fmt.Fprintf(&b, "\n%s<<\n%s", name, heard.text())
	}
	return b.String()
}

// queue follows a client's transaction and gives the rule for a reply.
func (f *fighter) queue(line said, reply outcome) rule {
	r := ruleFor(line.words)
	switch {
	case reply.frame.text == "QUEUED":
		f.queued[line.client] = append(f.queued[line.client], r)
	case strings.EqualFold(line.words[0], "EXEC") && reply.frame.kind != '-' || strings.EqualFold(line.words[0], "MULTI") && reply.frame.kind == '+':
		r = rule{elems: f.queued[line.client]}
		f.queued[line.client] = nil
	}
	return r
}

// ruleFor says how much of a command's reply counts: clocks tick between the
// two servers, and nothing orders keys.
func ruleFor(words []string) rule {
	if len(words) > 3 && strings.HasPrefix(strings.ToUpper(words[0]), "EVAL") && words[2] == "0" {
		words = words[3:] // a script that runs the command it is given
	}
	switch strings.ToUpper(words[0]) {
	case "TTL", "EXPIRETIME":
		return rule{approx: 3}
	case "PTTL", "PEXPIRETIME":
		return rule{approx: 3000}
	case "KEYS", "SCAN":
		return rule{sorted: true}
	case "RANDOMKEY", "HELLO":
		return rule{shape: true}
	case "CLIENT":
		return rule{shape: len(words) > 1 && words[1] == "ID"}
	case "PUBSUB":
		return rule{sorted: len(words) > 1 && strings.HasSuffix(words[1], "CHANNELS")}
	}
	return rule{}
}

// shrink leaves lines out for as long as the last one still differs.
func shrink(oracle, crema *target, seq sequence) sequence {
	differs := func(s sequence) bool {
		at, err := duel(oracle, crema, s)
		return err == nil && at >= 0
	}
	for _, simplify := range []func(*sequence){
		func(s *sequence) { s.resp3 = false },
		func(s *sequence) { s.events = false },
		func(s *sequence) { s.pipeline = false },
	} {
		try := seq
		simplify(&try)
		if differs(try) {
			seq = try
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for size := len(seq.lines) / 2; size >= 1; {
		removed := false
		for from := 0; from < len(seq.lines); {
			try := seq
			try.lines = slices.Delete(slices.Clone(seq.lines), from, min(from+size, len(seq.lines)))
			if differs(try) {
				seq, removed = try, true
			} else {
				from += size
			}
			if time.Now().After(deadline) {
				return seq
			}
		}
		if !removed || size > 1 {
			size /= 2
		}
	}
	return seq
}

// retell writes a sequence as a conversation, and behind it what crema said.
func retell(oracle, crema *target, seq sequence, seed uint64, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Random sequence %d of seed %d\n", n, seed)
	if seq.resp3 {
		b.WriteString("! resp3 a\n")
	}
	if seq.events {
		b.WriteString("! resp2-only\n! config notify-keyspace-events KEA\ne> PSUBSCRIBE __key*\n1) \"psubscribe\"\n2) \"__key*\"\n3) (integer) 1\n")
	}
	if seq.pipeline {
		b.WriteString("# (It takes pipelines: each client's lines in one write.)\n")
	}
	x, errX := seq.enter(oracle)
	defer x.leave()
	y, errY := seq.enter(crema)
	defer y.leave()
	if errX != nil || errY != nil {
		return fmt.Sprintf("%s\n%v %v\n%s", b.String(), errX, errY, seq)
	}
	for _, line := range seq.lines {
		if seq.session {
			want, got := x.say(line), y.say(line)
			b.WriteString(want + "\n")
			if want != got {
				fmt.Fprintf(&b, "\n%s's side:\n%s\n", crema.name, got)
				break
			}
			continue
		}
		want, got := x.clients[line.client].do(line.words...), y.clients[line.client].do(line.words...)
		r := x.queue(line, want)
		switch {
		case r.approx > 0:
			fmt.Fprintf(&b, "! approx %d\n", r.approx)
		case r.sorted:
			b.WriteString("! sorted\n")
		case r.shape:
			b.WriteString("! shape\n")
		}
		fmt.Fprintf(&b, "%s\n%s\n", line, r.show(want))
		different := r.differ(want, got)
		if seq.events {
			heard, told := x.clients["e"].drain(), y.clients["e"].drain()
			b.WriteString("e<<\n" + heard.text() + "\n")
			if different == "" && !bytes.Equal(heard.raw, told.raw) {
				different = told.text() + "\nwant\n" + heard.text()
			}
		}
		if different != "" {
			fmt.Fprintf(&b, "\n%s answers\n%s\n", crema.name, different)
			break
		}
	}
	return b.String()
}

// word quotes a word where it must be.
func word(w string) string {
	if w != "" && strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.*?[]^") == "" {
		return w
	}
	return string(resp.AppendQuoted(nil, []byte(w)))
}
