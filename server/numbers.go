package server

import (
	"math"

	"crema/resp"
	"crema/store"
)

func numberRows() []command {
	return []command{
		{"incr", 2, write | denyOOM | fast | catString, key(1), data(cmdIncr)},
		{"decr", 2, write | denyOOM | fast | catString, key(1), data(cmdDecr)},
		{"incrby", 3, write | denyOOM | fast | catString, key(1), data(cmdIncrBy)},
		{"decrby", 3, write | denyOOM | fast | catString, key(1), data(cmdDecrBy)},
		{"incrbyfloat", 3, write | denyOOM | fast | catString, key(1), data(cmdIncrByFloat)},
	}
}

// INCR key
func cmdIncr(tx *store.Tx, a *resp.Args) resp.Reply { return increment(tx, a.Bytes(), 1) }

// DECR key
func cmdDecr(tx *store.Tx, a *resp.Args) resp.Reply { return increment(tx, a.Bytes(), -1) }

// INCRBY key increment
func cmdIncrBy(tx *store.Tx, a *resp.Args) resp.Reply {
	key, by := a.Bytes(), a.Int()
	if a.Failed() {
		return a.Err()
	}
	return increment(tx, key, by)
}

// DECRBY key decrement
func cmdDecrBy(tx *store.Tx, a *resp.Args) resp.Reply {
	key, by := a.Bytes(), a.Int()
	if by == math.MinInt64 { // its opposite is no int64
		a.Fail(resp.ErrDecrOverflow)
	}
	if a.Failed() {
		return a.Err()
	}
	return increment(tx, key, -by)
}

// increment adds to the integer at key, 0 if there is none. The deadline stays.
func increment(tx *store.Tx, key []byte, by int64) resp.Reply {
	old, exists := tx.Find(key)
	var n int64
	if exists {
		var ok bool
		if n, ok = resp.ParseInt(old.Value); !ok {
			return resp.ErrNotInteger
		}
	}
	if by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
		return resp.ErrIncrOverflow
	}
	n += by
	tx.Put(key, store.Put{Value: tx.Integer(n), Deadline: old.Deadline, Sure: true})
	tx.Notify(store.ClassString, "incrby", key)
	return resp.Int(n)
}

// INCRBYFLOAT key increment
func cmdIncrByFloat(tx *store.Tx, a *resp.Args) resp.Reply {
	key, by := a.Bytes(), a.Bytes()
	old, exists := tx.Find(key)
	n := old.Value
	if !exists {
		n = []byte("0")
	}
	sum, bad := resp.AddFloat(n, by)
	if bad.IsError() {
		return bad
	}
	// Redis never keeps such a sum as an integer, even if it is one.
	tx.Put(key, store.Put{Value: sum, Deadline: old.Deadline, Encoding: store.Embstr, Sure: true})
	tx.Notify(store.ClassString, "incrbyfloat", key)
	return resp.Bulk(sum)
}
