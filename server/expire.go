package server

import (
	"math"

	"crema/resp"
	"crema/store"
)

func expireRows() []command {
	return []command{
		{"expire", -3, write | fast | catKeyspace, key(1), data(cmdExpire)},
		{"pexpire", -3, write | fast | catKeyspace, key(1), data(cmdPExpire)},
		{"expireat", -3, write | fast | catKeyspace, key(1), data(cmdExpireAt)},
		{"pexpireat", -3, write | fast | catKeyspace, key(1), data(cmdPExpireAt)},
		{"ttl", 2, readonly | fast | catKeyspace, key(1), data(cmdTTL)},
		{"pttl", 2, readonly | fast | catKeyspace, key(1), data(cmdPTTL)},
		{"expiretime", 2, readonly | fast | catKeyspace, key(1), data(cmdExpireTime)},
		{"pexpiretime", 2, readonly | fast | catKeyspace, key(1), data(cmdPExpireTime)},
		{"persist", 2, write | fast | catKeyspace, key(1), data(cmdPersist)},
	}
}

// EXPIRE key seconds [NX | XX | GT | LT]
func cmdExpire(tx *store.Tx, a *resp.Args) resp.Reply { return expireCommand(tx, a, tx.Now(), 1000) }

// PEXPIRE key milliseconds [NX | XX | GT | LT]
func cmdPExpire(tx *store.Tx, a *resp.Args) resp.Reply { return expireCommand(tx, a, tx.Now(), 1) }

// EXPIREAT key second [NX | XX | GT | LT]
func cmdExpireAt(tx *store.Tx, a *resp.Args) resp.Reply { return expireCommand(tx, a, 0, 1000) }

// PEXPIREAT key millisecond [NX | XX | GT | LT]
func cmdPExpireAt(tx *store.Tx, a *resp.Args) resp.Reply { return expireCommand(tx, a, 0, 1) }

// expireCommand moves a key's deadline to a number of units after base.
func expireCommand(tx *store.Tx, a *resp.Args, base, unit int64) resp.Reply {
	key, number := a.Bytes(), a.Bytes()
	only := parseExpireCondition(a)
	n, ok := resp.ParseInt(number)
	if !ok {
		a.Fail(resp.ErrNotInteger)
	}
	// Negative numbers mean a moment that is past; only an overflow is wrong.
	if n > math.MaxInt64/unit || n < math.MinInt64/unit || n*unit > math.MaxInt64-base {
		a.Fail(resp.ErrInvalidExpire(a.Name))
	}
	if a.Failed() {
		return a.Err()
	}
	old, exists := tx.Find(key)
	deadline := n*unit + base
	if !exists || !only.allows(old.Deadline, deadline) {
		return resp.Zero
	}
	expire(tx, key, deadline)
	return resp.One
}

// expireCondition is the options NX, XX, GT and LT.
type expireCondition struct{ nx, xx, gt, lt bool }

func parseExpireCondition(a *resp.Args) (c expireCondition) {
	for a.More() {
		switch {
		case a.Match("NX"):
			c.nx = true
		case a.Match("XX"):
			c.xx = true
		case a.Match("GT"):
			c.gt = true
		case a.Match("LT"):
			c.lt = true
		default:
			a.Fail(resp.ErrExpireOption(a.Bytes()))
		}
	}
	if c.nx && (c.xx || c.gt || c.lt) {
		a.Fail(resp.ErrExpireNX)
	}
	if c.gt && c.lt {
		a.Fail(resp.ErrExpireGTLT)
	}
	return c
}

// allows compares the present deadline with the wanted one. Without a deadline
// a key lives for ever: nothing is later.
func (c expireCondition) allows(old, wanted int64) bool {
	forever := old == 0
	switch {
	case c.nx && !forever, c.xx && forever:
		return false
	case c.gt && (forever || wanted <= old):
		return false
	case c.lt && !forever && wanted >= old:
		return false
	}
	return true
}

// expire gives a key that is there a deadline; one that is not in the future
// ends the key now.
func expire(tx *store.Tx, key []byte, deadline int64) {
	if deadline <= tx.Now() {
		remove(tx, key)
		return
	}
	tx.Expire(key, deadline, false)
	tx.Notify(store.ClassGeneric, "expire", key)
}

// PERSIST key
func cmdPersist(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	old, exists := tx.Find(key)
	return oneIf(exists && persist(tx, key, old))
}

// persist takes a key's deadline away, and with it the permission to forget it.
func persist(tx *store.Tx, key []byte, old store.Entry) bool {
	if old.Deadline == 0 {
		return false
	}
	tx.Expire(key, 0, true)
	tx.Notify(store.ClassGeneric, "persist", key)
	return true
}

// TTL key
func cmdTTL(tx *store.Tx, a *resp.Args) resp.Reply { return deadlineReply(tx, a, tx.Now(), 1000) }

// PTTL key
func cmdPTTL(tx *store.Tx, a *resp.Args) resp.Reply { return deadlineReply(tx, a, tx.Now(), 1) }

// EXPIRETIME key
func cmdExpireTime(tx *store.Tx, a *resp.Args) resp.Reply { return deadlineReply(tx, a, 0, 1000) }

// PEXPIRETIME key
func cmdPExpireTime(tx *store.Tx, a *resp.Args) resp.Reply { return deadlineReply(tx, a, 0, 1) }

// deadlineReply tells a key's deadline in units after base, rounded to the
// nearest: -1 for a key without a deadline, -2 for no key.
func deadlineReply(tx *store.Tx, a *resp.Args, base, unit int64) resp.Reply {
	e, exists := peek(tx, a.Bytes())
	switch {
	case !exists:
		return resp.Int(-2)
	case e.Deadline == 0:
		return resp.Int(-1)
	}
	left := e.Deadline - base
	// The quotient first: a deadline near the end of time must not overflow.
	return resp.Int(left/unit + (left%unit+unit/2)/unit)
}
