package server

import (
	"crema/resp"
	"crema/store"
)

func stringRows() []command {
	return []command{
		{"get", 2, readonly | fast | catString, key(1), data(cmdGet)},
		{"set", -3, write | denyOOM | catString, key(1), data(cmdSet)},
		{"setnx", 3, write | denyOOM | fast | catString, key(1), data(cmdSetNX)},
		{"setex", 4, write | denyOOM | catString, key(1), data(cmdSetEx)},
		{"psetex", 4, write | denyOOM | catString, key(1), data(cmdPSetEx)},
		{"getset", 3, write | denyOOM | fast | catString, key(1), data(cmdGetSet)},
		{"getdel", 2, write | fast | catString, key(1), data(cmdGetDel)},
		{"getex", -2, write | fast | catString, key(1), data(cmdGetEx)},
		{"mget", -2, readonly | fast | catString, keys(1, -1, 1), data(cmdMGet)},
		{"mset", -3, write | denyOOM | catString, keys(1, -1, 2), data(cmdMSet)},
		{"msetnx", -3, write | denyOOM | catString, keys(1, -1, 2), data(cmdMSetNX)},
		{"append", 3, write | denyOOM | fast | catString, key(1), data(cmdAppend)},
		{"strlen", 2, readonly | fast | catString, key(1), data(cmdStrLen)},
		{"getrange", 4, readonly | catString, key(1), data(cmdGetRange)},
		{"substr", 4, readonly | catString, key(1), data(cmdGetRange)},
		{"setrange", 4, write | denyOOM | catString, key(1), data(cmdSetRange)},
		{"delex", -2, write | fast | catString, key(1), data(cmdDelEx)},
		{"delifeq", 3, write | fast | catString, key(1), data(cmdDelIfEq)},
	}
}

// GET key
func cmdGet(tx *store.Tx, a *resp.Args) resp.Reply { return bulkOrNil(read(tx, a.Bytes())) }

// GETSET key value
func cmdGetSet(tx *store.Tx, a *resp.Args) resp.Reply {
	key, value := a.Bytes(), a.Bytes()
	old, exists := read(tx, key)
	tx.Put(key, store.Put{Value: value})
	tx.Notify(store.ClassString, "set", key)
	return bulkOrNil(old, exists)
}

// GETDEL key
func cmdGetDel(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	old, exists := read(tx, key)
	remove(tx, key)
	return bulkOrNil(old, exists)
}

// GETEX key [EX seconds | PX milliseconds | EXAT second | PXAT millisecond | PERSIST]
func cmdGetEx(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	var e expiry
	forever := false
	for a.More() && !a.Failed() {
		switch {
		case e.match(a):
		case a.Match("PERSIST"):
			forever = true
		default:
			a.Fail(resp.ErrSyntax)
		}
	}
	if forever && e.given() {
		a.Fail(resp.ErrSyntax)
	}
	if a.Failed() {
		return a.Err()
	}
	old, exists := read(tx, key)
	if !exists { // told before a wrong number is
		return resp.Nil
	}
	switch {
	case e.given():
		deadline := e.deadline(a, tx.Now())
		if a.Failed() {
			return a.Err()
		}
		expire(tx, key, deadline)
	case forever:
		persist(tx, key, old)
	}
	return resp.Bulk(old.Value)
}

// MGET key [key …]
func cmdMGet(tx *store.Tx, a *resp.Args) resp.Reply {
	values := make([]resp.Reply, 0, a.Left())
	for a.More() {
		values = append(values, bulkOrNil(read(tx, a.Bytes())))
	}
	return resp.Array(values...)
}

// MSET key value [key value …]
func cmdMSet(tx *store.Tx, a *resp.Args) resp.Reply {
	if a.Left()%2 != 0 {
		return a.WrongArity()
	}
	setPairs(tx, a.Rest(), false)
	return resp.OK
}

// MSETNX key value [key value …]
func cmdMSetNX(tx *store.Tx, a *resp.Args) resp.Reply {
	if a.Left()%2 != 0 {
		return a.WrongArity()
	}
	pairs := a.Rest()
	for i := 0; i < len(pairs); i += 2 {
		if _, exists := tx.Find(pairs[i]); exists {
			return resp.Zero
		}
	}
	setPairs(tx, pairs, true)
	return resp.One
}

func setPairs(tx *store.Tx, pairs [][]byte, sure bool) {
	for i := 0; i < len(pairs); i += 2 {
		tx.Put(pairs[i], store.Put{Value: pairs[i+1], Sure: sure})
		tx.Notify(store.ClassString, "set", pairs[i])
	}
}

// APPEND key value
func cmdAppend(tx *store.Tx, a *resp.Args) resp.Reply {
	key, more := a.Bytes(), a.Bytes()
	old, exists := tx.Find(key)
	p := store.Put{Value: more, Deadline: old.Deadline, Sure: true}
	if exists {
		size := len(old.Value) + len(more)
		if int64(size) > tx.MaxValue() {
			return resp.ErrStringTooLong
		}
		p.Value = append(append(make([]byte, 0, size), old.Value...), more...)
		p.Encoding = store.Raw
	}
	tx.Put(key, p)
	tx.Notify(store.ClassString, "append", key)
	return resp.Int(int64(len(p.Value)))
}

// STRLEN key
func cmdStrLen(tx *store.Tx, a *resp.Args) resp.Reply {
	e, _ := read(tx, a.Bytes())
	return resp.Int(int64(len(e.Value)))
}

// GETRANGE key start end
// SUBSTR key start end
func cmdGetRange(tx *store.Tx, a *resp.Args) resp.Reply {
	key, start, end := a.Bytes(), a.Int(), a.Int()
	if a.Failed() {
		return a.Err()
	}
	e, _ := read(tx, key)
	return resp.Bulk(slice(e.Value, start, end))
}

// slice is the part from start to end, both included; negative ones count from
// the end of the value.
func slice(value []byte, start, end int64) []byte {
	n := int64(len(value))
	if start < 0 && end < 0 && start > end {
		return nil
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if start > end {
		return nil
	}
	return value[start : end+1]
}

// SETRANGE key offset value
func cmdSetRange(tx *store.Tx, a *resp.Args) resp.Reply {
	key, offset, part := a.Bytes(), a.Int(), a.Bytes()
	if !a.Failed() && offset < 0 {
		a.Fail(resp.ErrOffset)
	}
	if a.Failed() {
		return a.Err()
	}
	old, _ := tx.Find(key)
	if len(part) == 0 {
		return resp.Int(int64(len(old.Value)))
	}
	if offset > tx.MaxValue()-int64(len(part)) {
		return resp.ErrStringTooLong
	}
	value := make([]byte, max(len(old.Value), int(offset)+len(part)))
	copy(value, old.Value)
	copy(value[offset:], part)
	tx.Put(key, store.Put{Value: value, Deadline: old.Deadline, Encoding: store.Raw, Sure: true})
	tx.Notify(store.ClassString, "setrange", key)
	return resp.Int(int64(len(value)))
}
