package script

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// concat is the operator .. with all operands of a chain.
func concat(c call) int {
	n := c.n()
	total, plain := 0, true
	for i := 1; i <= n; i++ {
		switch v := c.Get(i).(type) {
		case lua.LString:
			total += len(v)
		case lua.LNumber:
			total += 24
		default:
			plain = false
		}
	}
	c.charge(total)
	if plain {
		buf := make([]byte, 0, total)
		for i := 1; i <= n; i++ {
			buf = appendText(buf, c.Get(i))
		}
		c.Push(lua.LString(textOf(buf)))
		return 1
	}
	right := c.Get(n)
	for i := n - 1; i >= 1; i-- {
		right = c.concat2(c.Get(i), right, i)
	}
	c.Push(right)
	return 1
}

// concat2 joins operands i and i+1, of which the right one may be a result.
func (c call) concat2(left, right lua.LValue, i int) lua.LValue {
	l, ok := toText(left)
	r, ok2 := toText(right)
	if ok && ok2 {
		c.charge(len(l) + len(r))
		return lua.LString(l + r)
	}
	for _, v := range []lua.LValue{left, right} {
		if f := c.metamethod(v, "__concat"); f != lua.LNil {
			return c.call1(f, left, right)
		}
	}
	bad, at := right, i+1
	if !ok {
		bad, at = left, i
	}
	kind := bad.Type().String()
	if p := viewState(c.LState).currentFrame.Parent; p != nil && !p.Fn.IsG {
		a := argA(p.Fn.Proto.Code[p.Pc-1])
		c.fail("attempt to concatenate " + describe(p.Fn.Proto, p.Pc-1, a+at, kind))
	}
	c.fail("attempt to concatenate a " + kind + " value")
	return nil
}

// freeKey is the largest key that needs no accounting: an array of that many
// slots is as cheap as the instruction is slow.
const freeKey = 1024

// assignedKey accounts for the slots that an assignment to a key of a table
// adds to its array.
func assignedKey(c call) int {
	if n, ok := c.Get(1).(lua.LNumber); ok && n > freeKey {
		c.chargeKey(c.Get(2), n)
	}
	c.SetTop(1)
	return 1
}

// maxArrayKey is gopher-lua's MaxArrayIndex: larger keys are hashed.
const maxArrayKey = 1 << 26

func (c call) chargeKey(table lua.LValue, n lua.LNumber) {
	if n >= maxArrayKey || float64(n) != math.Floor(float64(n)) {
		return
	}
	has := 0
	if t, ok := table.(*lua.LTable); ok {
		has = len(viewTable(t).array)
	}
	if more := int(n) - has; more > 1 {
		c.charge(more * 16)
	}
}

// forBound makes a number of a bound of a numeric for.
func forBound(c call) int {
	f, ok := toNumber(c.Get(1))
	if !ok {
		c.fail("'for' " + c.Get(2).String() + " must be a number")
	}
	c.pushNumber(f)
	return 1
}

func appendText(dst []byte, v lua.LValue) []byte {
	switch v := v.(type) {
	case lua.LString:
		return append(dst, v...)
	case lua.LNumber:
		return appendNumber(dst, float64(v), 14)
	}
	return dst
}
