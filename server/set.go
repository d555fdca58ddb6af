package server

import (
	"bytes"

	"crema/resp"
	"crema/store"
)

// condition says what a key must hold for a write to happen.
type condition struct {
	rule  rule
	value []byte // what ifEqual and ifNotEqual compare with
}

type rule uint8

const (
	always rule = iota
	ifAbsent
	ifPresent
	ifEqual
	ifNotEqual // holds for a key that is not there, too
)

// match reads IFEQ or IFNE with its value; one condition is all there may be.
func (c *condition) match(a *resp.Args) bool {
	if a.Left() < 2 {
		return false
	}
	switch {
	case a.Match("IFEQ"):
		c.only(a, ifEqual)
	case a.Match("IFNE"):
		c.only(a, ifNotEqual)
	default:
		return false
	}
	c.value = a.Bytes()
	return true
}

// only makes r the condition unless there is another. NX and XX may be
// repeated, as in Redis; a second value to compare with may not.
func (c *condition) only(a *resp.Args, r rule) {
	if c.rule != always && (c.rule != r || r == ifEqual || r == ifNotEqual) {
		a.Fail(resp.ErrSyntax)
	}
	c.rule = r
}

func (c condition) holds(e store.Entry, exists bool) bool {
	switch c.rule {
	case ifAbsent:
		return !exists
	case ifPresent:
		return exists
	case ifEqual:
		return exists && bytes.Equal(e.Value, c.value)
	case ifNotEqual:
		return !exists || !bytes.Equal(e.Value, c.value)
	}
	return true
}

// setOptions is what may follow SET's value.
type setOptions struct {
	condition condition
	expiry    expiry
	keepTTL   bool
	get       bool
}

func parseSet(a *resp.Args) (o setOptions) {
	for a.More() && !a.Failed() {
		switch {
		case a.Match("NX"):
			o.condition.only(a, ifAbsent)
		case a.Match("XX"):
			o.condition.only(a, ifPresent)
		case o.condition.match(a):
		case o.expiry.match(a):
		case a.Match("KEEPTTL"):
			o.keepTTL = true
		case a.Match("GET"):
			o.get = true
		default:
			a.Fail(resp.ErrSyntax)
		}
	}
	if o.keepTTL && o.expiry.given() {
		a.Fail(resp.ErrSyntax)
	}
	return o
}

// SET key value [NX | XX | IFEQ value | IFNE value] [GET]
// [EX seconds | PX milliseconds | EXAT second | PXAT millisecond | KEEPTTL]
func cmdSet(tx *store.Tx, a *resp.Args) resp.Reply {
	key, value := a.Bytes(), a.Bytes()
	var o setOptions
	if a.More() {
		o = parseSet(a)
	}
	return set(tx, a, key, value, o)
}

// SETEX key seconds value
func cmdSetEx(tx *store.Tx, a *resp.Args) resp.Reply {
	key, e := a.Bytes(), expiry{inSeconds, a.Bytes()}
	return set(tx, a, key, a.Bytes(), setOptions{expiry: e})
}

// PSETEX key milliseconds value
func cmdPSetEx(tx *store.Tx, a *resp.Args) resp.Reply {
	key, e := a.Bytes(), expiry{inMillis, a.Bytes()}
	return set(tx, a, key, a.Bytes(), setOptions{expiry: e})
}

// SETNX key value
func cmdSetNX(tx *store.Tx, a *resp.Args) resp.Reply {
	key, value := a.Bytes(), a.Bytes()
	done := set(tx, a, key, value, setOptions{condition: condition{rule: ifAbsent}})
	return oneIf(!done.IsNil())
}

// set writes a string. A deadline that is past already is kept as it is: no
// read shows such a key, and it expires at once, as in Redis.
func set(tx *store.Tx, a *resp.Args, key, value []byte, o setOptions) resp.Reply {
	p := store.Put{Value: value, Sure: o.condition.rule != always}
	if o.expiry.given() && !a.Failed() {
		p.Deadline = o.expiry.deadline(a, tx.Now())
	}
	if a.Failed() {
		return a.Err()
	}
	done, refused := resp.OK, resp.Nil
	if o.get {
		done = bulkOrNil(read(tx, key))
		refused = done
	}
	if o.keepTTL || o.condition.rule != always {
		old, exists := tx.Find(key)
		if !o.condition.holds(old, exists) {
			return refused
		}
		if o.keepTTL {
			p.Deadline = old.Deadline
		}
	}
	tx.Put(key, p)
	tx.Notify(store.ClassString, "set", key)
	if o.expiry.given() {
		tx.Notify(store.ClassGeneric, "expire", key)
	}
	return done
}

// DELEX key [IFEQ value | IFNE value]
func cmdDelEx(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	var c condition
	if a.More() {
		if a.Left() != 2 {
			return a.WrongArity()
		}
		if !c.match(a) {
			if a.Match("IFDEQ") || a.Match("IFDNE") { // no digests of values here
				return resp.ErrSyntax
			}
			return resp.ErrDelExCondition
		}
	}
	return deleteIf(tx, key, c)
}

// DELIFEQ key value
func cmdDelIfEq(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	return deleteIf(tx, key, condition{ifEqual, a.Bytes()})
}

// deleteIf deletes a key that is there and meets the condition.
func deleteIf(tx *store.Tx, key []byte, c condition) resp.Reply {
	old, exists := tx.Find(key)
	return oneIf(exists && c.holds(old, true) && remove(tx, key))
}
