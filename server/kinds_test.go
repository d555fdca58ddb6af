package server

import (
	"strings"
	"testing"
	"time"

	"crema/resp"
	"crema/store"
)

// What each command makes of a key: cached, which memory may take back, or
// pinned.
func TestKinds(t *testing.T) {
	for _, c := range []struct{ commands, want string }{
		{"SET k v EX 100", "cached"},
		{"SET k v PX 100000", "cached"},
		{"SET k v EXAT 4000000000", "cached"},
		{"SET k v EX 100 GET", "cached"},
		{"SETEX k 100 v", "cached"},
		{"PSETEX k 100000 v", "cached"},
		{"SET k v", "pinned"},
		{"MSET k v", "pinned"},
		{"GETSET k v", "pinned"},
		{"APPEND k v", "pinned"},
		{"SETRANGE k 0 v", "pinned"},
		{"INCR k", "pinned"},
		{"SETNX k v", "pinned"},
		{"MSETNX k v", "pinned"},
		{"SET k v NX EX 100", "pinned"},
		{"SET k v IFNE w EX 100", "pinned"},

		// A plain write over a cached key.
		{"SET k v EX 100; SET k w EX 100", "cached"},
		{"SET k v EX 100; SET k w KEEPTTL", "cached"},
		{"SET k v EX 100; SET k w", "pinned"},
		{"SET k v EX 100; GETSET k w", "pinned"},
		{"SET k v EX 100; EXPIRE k 50", "cached"},
		{"SET k v EX 100; EXPIRE k 50 LT", "cached"},
		{"SET k v EX 100; GETEX k EX 50", "cached"},
		{"SET k v EX 100; TOUCH k", "cached"},

		// Conditions, changes in place and PERSIST pin it.
		{"SET k v EX 100; SET k w XX EX 100", "pinned"},
		{"SET k v EX 100; SET k w IFEQ v EX 100", "pinned"},
		{"SET k v EX 100; SET k w IFEQ x EX 100", "cached"},
		{"SET k v EX 100; SETNX k w", "cached"},
		{"SET k 1 EX 100; INCR k", "pinned"},
		{"SET k 1 EX 100; DECRBY k 5", "pinned"},
		{"SET k 1 EX 100; INCRBYFLOAT k 0.5", "pinned"},
		{"SET k v EX 100; APPEND k w", "pinned"},
		{"SET k v EX 100; SETRANGE k 1 w", "pinned"},
		{"SET k v EX 100; PERSIST k", "pinned"},
		{"SET k v EX 100; GETEX k PERSIST", "pinned"},

		// What is pinned stays so until it is gone.
		{"SET k v; SET k w EX 100", "pinned"},
		{"SET k v; EXPIRE k 100", "pinned"},
		{"SET k v; GETEX k EX 100", "pinned"},
		{"SET k v NX EX 100; SETEX k 100 w", "pinned"},
		{"SET k v; DEL k; SET k w EX 100", "cached"},
		{"SET k v; GETDEL k; SET k w EX 100", "cached"},
		{"SET k v; EXPIRE k -1; SET k w EX 100", "cached"},

		// The kind goes with the value; a name that had to be free is a lock.
		{"SET a v EX 100; RENAME a k", "cached"},
		{"SET a v NX EX 100; RENAME a k", "pinned"},
		{"SET k v; SET a v EX 100; RENAME a k", "cached"},
		{"SET a v EX 100; RENAMENX a k", "pinned"},
		{"SET k v; SET a v EX 100; COPY a k REPLACE", "cached"},
		{"SET a v NX EX 100; COPY a k REPLACE", "pinned"},
		{"SET a v EX 100; COPY a k", "pinned"},
		{"SET k v EX 100; MOVE k 1; SWAPDB 0 1", "pinned"},
	} {
		b := NewBare(store.Config{Policy: store.VolatileLFU})
		for line := range strings.SplitSeq(c.commands, "; ") {
			if reply, _ := b.Do(strings.Fields(line)...); reply[0] == '-' {
				t.Errorf("%s: %q answers %q", c.commands, line, reply)
			}
		}
		kind := "gone"
		if e, exists := b.Entry("k"); exists && e.Pinned {
			kind = "pinned"
		} else if exists {
			kind = "cached"
		}
		if kind != c.want {
			t.Errorf("%s: k is %s, want %s", c.commands, kind, c.want)
		}
		if err := b.Store.Check(); err != nil {
			t.Errorf("%s: %v", c.commands, err)
		}
		b.Close()
	}
}

// No value grows beyond proto-max-bulk-len.
func TestMaxValue(t *testing.T) {
	b := NewBare(store.Config{MaxValueBytes: 10})
	defer b.Close()
	const tooLong = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
	for _, c := range []struct{ line, want string }{
		{"SETRANGE k 9 v", ":10\r\n"},
		{"SETRANGE k 10 v", tooLong},
		{"SETRANGE none 10 v", tooLong},
		{"SETRANGE none 9223372036854775807 v", tooLong},
		{"APPEND k v", tooLong},
		{"STRLEN k", ":10\r\n"},
		{"LCS k k LEN", "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n"},
	} {
		if got, _ := b.Do(strings.Fields(c.line)...); string(got) != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
}

// The two commands that matter most allocate nothing but what the store keeps.
func TestGetAndSetDoNotAllocate(t *testing.T) {
	st := store.New(store.Config{})
	defer st.Close()
	table := newTable(stringRows())
	var tx store.Tx
	var a resp.Args
	now := time.Now().UnixMilli()
	call := func(words [][]byte) {
		row, named, _ := table.lookup(words)
		tx.Begin(st, now, 0, store.Scope{Shards: row.scope(st, words)})
		a = resp.NewArgs(row.name, words, named)
		row.run(&tx, &a)
		st.Apply(tx.Effects())
		tx.End()
	}
	set := [][]byte{[]byte("SET"), []byte("k"), []byte("value")}
	setEx := append(set[:3:3], []byte("EX"), []byte("100"))
	get := [][]byte{[]byte("GET"), []byte("k")}
	call(set)
	for _, c := range []struct {
		words [][]byte
		most  float64
	}{{get, 0}, {set, 1}, {setEx, 1}} {
		if n := testing.AllocsPerRun(100, func() { call(c.words) }); n > c.most {
			t.Errorf("%s allocates %v times, want %v", c.words, n, c.most)
		}
	}
}
