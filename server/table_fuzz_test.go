package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"crema/resp"
	"crema/store"
)

// fuzzWords are words that mean something to some command: keys, values,
// numbers at the edges and options.
var fuzzWords = strings.Split("|a|b|c|foo|bar|1|2|-1|0|3|10|15|16|99|007|1.5|-0|3e2|inf|nan|100|60000|"+
	"9223372036854775807|-9223372036854775808|9223372036854775|9223372036854776|18446744073709551615|1700000000000|1800000000|"+
	"*|a*|[^x]?|NX|XX|GT|LT|GET|EX|PX|EXAT|PXAT|KEEPTTL|PERSIST|IFEQ|IFNE|LEN|IDX|MINMATCHLEN|WITHMATCHLEN|"+
	"MATCH|COUNT|TYPE|string|REPLACE|DB|ASYNC|SYNC|SAMPLES|encoding|freq|idletime|refcount|usage|help", "|")

// FuzzTable runs any row with any words on a store without a server. Nothing
// may panic (a key outside the row's scope does), a read may record nothing,
// and what a Tx sees of its own effects is what the store holds once they are
// applied.
func FuzzTable(f *testing.F) {
	for seed := range uint64(64) {
		r := rand.New(rand.NewPCG(seed, 0))
		program := make([]byte, 20+r.IntN(200))
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(program)
	}
	st := store.New(store.Config{
		MaxValueBytes: 1 << 16,
		Now:           func() time.Time { return time.UnixMilli(fuzzNow) },
	})
	f.Cleanup(st.Close)
	st.WantEvents(^store.EventClass(0))
	var rows []*command
	for _, row := range newTable(allRows()...).all {
		rows = append(rows, dataRows(row)...)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		p := fuzzProgram{program}
		empty(t, st)
		for len(p.rest) > 0 {
			if length := int(p.next() % 16); length > 0 {
				fuzzMany(t, st, &p, rows, length)
			} else {
				fuzzOne(t, st, &p, rows)
			}
		}
		if err := st.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// dataRows is a row, or its subcommands, as far as they are data commands.
func dataRows(row *command) (rows []*command) {
	if row.run != nil {
		return []*command{row}
	}
	for i := range row.subs {
		if row.subs[i].run != nil {
			rows = append(rows, &row.subs[i])
		}
	}
	return rows
}

// empty leaves nothing of the program before.
func empty(t *testing.T, st *store.Store) {
	var tx store.Tx
	if err := tx.Begin(st, fuzzNow, 0, store.Scope{Shards: store.AllShards}); err != nil {
		t.Fatal(err)
	}
	defer tx.End()
	tx.Flush(-1)
	st.Apply(tx.Effects())
}

const fuzzNow = 1_750_000_000_000

// fuzzOne runs one command as a client's: its Tx has its row's scope only.
func fuzzOne(t *testing.T, st *store.Store, p *fuzzProgram, rows []*command) {
	var tx store.Tx
	row, words, named := p.command(rows)
	if err := tx.Begin(st, fuzzNow, 0, store.Scope{Shards: row.scope(st, words)}); err != nil {
		t.Fatal(err)
	}
	runFuzzed(t, &tx, row, words, named)
	st.Apply(tx.Effects())
	tx.End()
}

// fuzzMany runs several commands in one Tx, as a transaction or a script does.
func fuzzMany(t *testing.T, st *store.Store, p *fuzzProgram, rows []*command, length int) {
	var tx store.Tx
	scope := store.Scope{Shards: store.AllShards, Latch: length%2 == 0, PinAll: length%3 == 0}
	if err := tx.Begin(st, fuzzNow, 0, scope); err != nil {
		t.Fatal(err)
	}
	defer tx.End()
	for range length {
		row, words, named := p.command(rows)
		runFuzzed(t, &tx, row, words, named)
	}
	seen := visible(&tx)
	st.Apply(tx.Effects())
	tx.Discard()
	if got := visible(&tx); got != seen {
		t.Errorf("the store holds\n%s\nafter a Tx that saw\n%s", got, seen)
	}
}

// runFuzzed runs one command in an open Tx.
func runFuzzed(t *testing.T, tx *store.Tx, row *command, words [][]byte, named int) {
	before := len(tx.Effects())
	a := resp.NewArgs(row.name, words, named)
	r := row.run(tx, &a)
	resp.Append(resp.Append(nil, r, 2), r, 3)
	if r.Kind == resp.KindNone {
		t.Errorf("%q answered nothing", words)
	}
	if row.flags&write == 0 && len(tx.Effects()) != before {
		t.Errorf("%q has effects, though it only reads", words)
	}
}

// visible is everything a Tx can see, every database in order.
func visible(tx *store.Tx) string {
	var b strings.Builder
	for db := range store.NumDBs {
		tx.Select(db)
		held := map[string]string{}
		tx.Each(func(key []byte, e store.Entry) bool {
			if _, twice := held[string(key)]; twice {
				held[string(key)] = "twice"
				return true
			}
			held[string(key)] = fmt.Sprintf("%q until %d, pinned %t, encoding %d", e.Value, e.Deadline, e.Pinned, e.Encoding)
			return true
		})
		if len(held) > 0 || tx.Len() != 0 {
			fmt.Fprintf(&b, "%d: %d keys, %v\n", db, tx.Len(), held)
		}
	}
	tx.Select(0)
	return b.String()
}

// fuzzProgram is the fuzzer's bytes, read as choices; when they are used up
// every choice is 0.
type fuzzProgram struct{ rest []byte }

func (p *fuzzProgram) next() byte {
	if len(p.rest) == 0 {
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

// word is one of fuzzWords or, seldom, the program's own bytes.
func (p *fuzzProgram) word() []byte {
	i := int(p.next())
	if i < 240 {
		return []byte(fuzzWords[i%len(fuzzWords)])
	}
	n := min(i-240, len(p.rest))
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return append([]byte(nil), w...)
}

// command is a row with as many words as it takes.
func (p *fuzzProgram) command(rows []*command) (row *command, words [][]byte, named int) {
	row = rows[int(p.next())%len(rows)]
	for name := range strings.SplitSeq(row.name, "|") {
		words = append(words, []byte(name))
	}
	named = len(words)
	n := max(row.arity, -row.arity) - named
	if row.arity < 0 {
		n += int(p.next() % 6)
	}
	for range n {
		words = append(words, p.word())
	}
	return row, words, named
}
