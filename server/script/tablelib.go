package script

import (
	lua "github.com/yuin/gopher-lua"
)

var tableFuncs = map[string]gofn{
	"concat":   tabConcat,
	"foreach":  tabForeach,
	"foreachi": tabForeachi,
	"getn":     func(c call) int { c.pushNumber(float64(length(c.table(1)))); return 1 },
	"insert":   tabInsert,
	"maxn":     tabMaxn,
	"remove":   tabRemove,
	"setn":     func(c call) int { c.seenTable(1); c.fail("'setn' is obsolete"); return 0 },
	"sort":     tabSort,
}

func tabConcat(c call) int {
	t := c.table(1)
	sep := c.optText(2, "")
	from := c.intOr(3, 1)
	to := c.intOr(4, length(t))
	total := 0
	for i := from; i <= to; i++ {
		switch v := t.RawGet(lua.LNumber(i)).(type) {
		case lua.LString:
			total += len(v)
		case lua.LNumber:
			total += 24
		default:
			c.fail("invalid value (" + v.Type().String() + ") at index " + itoa(i) + " in table for 'concat'")
		}
		if i < to {
			total += len(sep)
		}
		c.step(1)
		if total > int(c.in.guard.limit) {
			c.charge(total)
		}
	}
	c.charge(total)
	out := make([]byte, 0, total)
	for i := from; i <= to; i++ {
		out = appendText(out, t.RawGet(lua.LNumber(i)))
		if i < to {
			out = append(out, sep...)
		}
	}
	c.pushText(textOf(out))
	return 1
}

func tabForeach(c call) int {
	t, f := c.table(1), c.function(2)
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		c.step(1)
		if r := c.call1(f, k, v); r != lua.LNil {
			c.Push(r)
			return 1
		}
	}
	return 0
}

func tabForeachi(c call) int {
	t, f := c.table(1), c.function(2)
	for i := 1; i <= length(t); i++ {
		c.step(1)
		if r := c.call1(f, lua.LNumber(i), t.RawGet(lua.LNumber(i))); r != lua.LNil {
			c.Push(r)
			return 1
		}
	}
	return 0
}

func tabInsert(c call) int {
	t := c.table(1)
	end := length(t) + 1
	switch c.n() {
	case 2:
		c.ownTable(1).RawSet(lua.LNumber(end), c.Get(2))
	case 3:
		at := c.int(2)
		if at > end {
			end = at
		}
		c.ownTable(1)
		c.step((end - max(at, 0)) / 16)
		for i := end; i > at; i-- {
			if (end-i)%4096 == 4095 {
				c.step(4096)
			}
			t.RawSet(lua.LNumber(i), t.RawGet(lua.LNumber(i-1)))
		}
		c.rawSet(t, lua.LNumber(at), c.Get(3))
	default:
		c.fail("wrong number of arguments to 'insert'")
	}
	return 0
}

func tabRemove(c call) int {
	t := c.table(1)
	n := length(t)
	at := c.intOr(2, n)
	if at < 1 || at > n {
		return 0
	}
	c.ownTable(1)
	c.step((n - at) / 16)
	c.Push(t.RawGet(lua.LNumber(at)))
	if t := viewTable(t); n == len(t.array) {
		copy(t.array[at-1:], t.array[at:])
		t.array[n-1] = nil
		t.array = t.array[:n-1]
		return 1
	}
	for ; at < n; at++ {
		t.RawSet(lua.LNumber(at), t.RawGet(lua.LNumber(at+1)))
	}
	t.RawSet(lua.LNumber(n), lua.LNil)
	return 1
}

func tabMaxn(c call) int {
	top := 0.0
	t := c.table(1)
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		c.step(1)
		if n, ok := k.(lua.LNumber); ok {
			top = max(top, float64(n))
		}
	}
	c.pushNumber(top)
	return 1
}

// sorter is Lua's quicksort, whose order of equal elements scripts can see.
type sorter struct {
	c    call
	t    *lua.LTable
	less *lua.LFunction
}

func tabSort(c call) int {
	s := sorter{c: c, t: c.table(1)}
	n := length(s.t)
	if !c.missing(2) {
		s.less = c.function(2)
	}
	if n > 1 {
		c.ownTable(1)
	}
	s.sort(1, n)
	return 0
}

func (s *sorter) get(i int) lua.LValue { return s.t.RawGet(lua.LNumber(i)) }

func (s *sorter) swap(i, j int) {
	a, b := s.get(i), s.get(j)
	s.t.RawSetInt(i, b)
	s.t.RawSetInt(j, a)
}

func (s *sorter) before(a, b lua.LValue) bool {
	s.c.step(1)
	if s.less != nil {
		return lua.LVAsBool(s.c.call1(s.less, a, b))
	}
	return s.c.lessThan(a, b)
}

// lessThan is the operator < inside a library function.
func (c call) lessThan(a, b lua.LValue) bool {
	switch x := a.(type) {
	case lua.LNumber:
		if y, ok := b.(lua.LNumber); ok {
			return x < y
		}
	case lua.LString:
		if y, ok := b.(lua.LString); ok {
			return x < y
		}
	}
	if f := c.metamethod(a, "__lt"); f != lua.LNil && f == c.metamethod(b, "__lt") {
		return lua.LVAsBool(c.call1(f, a, b))
	}
	c.in.failBare(c.LState, compareText(a.Type().String(), b.Type().String()))
	return false
}

func (s *sorter) sort(l, u int) {
	for l < u {
		if s.before(s.get(u), s.get(l)) {
			s.swap(l, u)
		}
		if u-l == 1 {
			return
		}
		i := l + (u-l)/2
		if s.before(s.get(i), s.get(l)) {
			s.swap(i, l)
		} else if s.before(s.get(u), s.get(i)) {
			s.swap(i, u)
		}
		if u-l == 2 {
			return
		}
		p := s.get(i)
		s.swap(i, u-1)
		i = s.partition(l, u, p)
		s.swap(u-1, i)
		if i-l < u-i {
			s.sort(l, i-1)
			l = i + 1
		} else {
			s.sort(i+1, u)
			u = i - 1
		}
	}
}

func (s *sorter) partition(l, u int, p lua.LValue) int {
	i, j := l, u-1
	for {
		for i++; s.before(s.get(i), p); i++ {
			if i > u {
				s.c.fail("invalid order function for sorting")
			}
		}
		for j--; s.before(p, s.get(j)); j-- {
			if j < l {
				s.c.fail("invalid order function for sorting")
			}
		}
		if j < i {
			return i
		}
		s.swap(i, j)
	}
}
