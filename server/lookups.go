package server

import (
	"math"

	"crema/resp"
	"crema/store"
)

// Every data command looks its keys up through read and peek, or through
// Tx.Find before a write, so that hits, misses and the "keymiss" event mean
// the same everywhere.

// read looks up a key whose value is about to be answered.
func read(tx *store.Tx, key []byte) (store.Entry, bool) {
	e, exists := tx.Get(key)
	if !exists {
		tx.Notify(store.ClassKeyMiss, "keymiss", key)
	}
	return e, exists
}

// peek looks up a key for a question about it: its place in the access order
// stays as it is.
func peek(tx *store.Tx, key []byte) (store.Entry, bool) {
	e, exists := tx.Peek(key)
	if !exists {
		tx.Notify(store.ClassKeyMiss, "keymiss", key)
	}
	return e, exists
}

// remove deletes a key and tells whether there was one.
func remove(tx *store.Tx, key []byte) bool {
	if !tx.Delete(key) {
		return false
	}
	tx.Notify(store.ClassGeneric, "del", key)
	return true
}

// bulkOrNil answers a value, nil if there is none.
func bulkOrNil(e store.Entry, exists bool) resp.Reply {
	if !exists {
		return resp.Nil
	}
	return resp.Bulk(e.Value)
}

// oneIf answers 1 or 0.
func oneIf(b bool) resp.Reply {
	if b {
		return resp.One
	}
	return resp.Zero
}

// database reads a number of a database, which checkDatabase has yet to judge.
// bad is the error for a word that is no number; resp.None leaves it to the
// general ones.
func database(a *resp.Args, bad resp.Reply) int {
	notInt, notInt32 := bad, bad
	if bad.Kind == resp.KindNone {
		notInt, notInt32 = resp.ErrNotInteger, resp.ErrNotInt32
	}
	n := a.IntOr(notInt)
	if n < math.MinInt32 || n > math.MaxInt32 {
		a.Fail(notInt32)
	}
	return int(n)
}

// checkDatabase refuses a number that no database has.
func checkDatabase(a *resp.Args, db int) {
	if db < 0 || db >= store.NumDBs {
		a.Fail(resp.ErrDBIndex)
	}
}

// maxPatternBytes bounds a glob: matching takes its length times the text's.
const maxPatternBytes = 4 << 10

// matches tells whether a key suits a pattern of KEYS or SCAN. A lone star is
// no pattern to Redis: it suits even the empty key, which Match says it does not.
func matches(pattern, key []byte) bool {
	return len(pattern) == 1 && pattern[0] == '*' || resp.Match(pattern, key, false)
}
