package script

import (
	"encoding/binary"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

var msgpackConstants = map[string]lua.LValue{
	"_NAME":        lua.LString("cmsgpack"),
	"_VERSION":     lua.LString("lua-cmsgpack 0.4.0"),
	"_COPYRIGHT":   lua.LString("Copyright (C) 2012, Salvatore Sanfilippo"),
	"_DESCRIPTION": lua.LString("MessagePack C implementation for Lua"),
}

var msgpackFuncs = map[string]gofn{
	"pack":   msgpackPack,
	"unpack": func(c call) int { return msgpackUnpack(c, 0, 0) },
	"unpack_one": func(c call) int {
		offset := c.integerOr(2, 0)
		return msgpackUnpack(c, 1, offset)
	},
	"unpack_limit": func(c call) int {
		limit := c.integer(2)
		return msgpackUnpack(c, limit, c.integerOr(3, 0))
	},
}

const (
	maxPackDepth   = 16   // deeper tables are packed as nil
	maxUnpackDepth = 2660 // what Lua's stack has room for in Redis
)

// packer appends MessagePack.
type packer struct{ output }

func msgpackPack(c call) int {
	if c.n() == 0 {
		c.badArg(0, "MessagePack pack needs input.")
	}
	p := packer{output{c: c}}
	for i := 1; i <= c.n(); i++ {
		p.value(c.Get(i), 0)
	}
	p.push()
	return 1
}

func (p *packer) value(v lua.LValue, depth int) {
	p.c.step(1)
	p.room(16)
	switch v := v.(type) {
	case lua.LString:
		p.text(string(v))
	case lua.LNumber:
		p.number(float64(v))
	case lua.LBool:
		if v {
			p.out = append(p.out, 0xc3)
		} else {
			p.out = append(p.out, 0xc2)
		}
	case *lua.LTable:
		if depth == maxPackDepth {
			p.out = append(p.out, 0xc0)
			return
		}
		p.table(p.c.in.real(v), depth+1)
	default:
		p.out = append(p.out, 0xc0)
	}
}

func (p *packer) text(s string) {
	p.room(len(s) + 5)
	switch n := len(s); {
	case n < 32:
		p.out = append(p.out, 0xa0|byte(n))
	case n <= math.MaxUint8:
		p.out = append(p.out, 0xd9, byte(n))
	case n <= math.MaxUint16:
		p.out = binary.BigEndian.AppendUint16(append(p.out, 0xda), uint16(n))
	default:
		p.out = binary.BigEndian.AppendUint32(append(p.out, 0xdb), uint32(n))
	}
	p.out = append(p.out, s...)
}

func (p *packer) number(f float64) {
	n := truncate(f)
	if float64(n) != f || f >= 1<<63 {
		if g := float32(f); float64(g) == f {
			p.out = binary.BigEndian.AppendUint32(append(p.out, 0xca), math.Float32bits(g))
		} else {
			p.out = binary.BigEndian.AppendUint64(append(p.out, 0xcb), math.Float64bits(f))
		}
		return
	}
	be := binary.BigEndian
	switch {
	case n >= 0 && n <= 127, n < 0 && n >= -32:
		p.out = append(p.out, byte(n))
	case n >= 0 && n <= math.MaxUint8:
		p.out = append(p.out, 0xcc, byte(n))
	case n >= 0 && n <= math.MaxUint16:
		p.out = be.AppendUint16(append(p.out, 0xcd), uint16(n))
	case n >= 0 && n <= math.MaxUint32:
		p.out = be.AppendUint32(append(p.out, 0xce), uint32(n))
	case n >= 0:
		p.out = be.AppendUint64(append(p.out, 0xcf), uint64(n))
	case n >= math.MinInt8:
		p.out = append(p.out, 0xd0, byte(n))
	case n >= math.MinInt16:
		p.out = be.AppendUint16(append(p.out, 0xd1), uint16(n))
	case n >= math.MinInt32:
		p.out = be.AppendUint32(append(p.out, 0xd2), uint32(n))
	default:
		p.out = be.AppendUint64(append(p.out, 0xd3), uint64(n))
	}
}

// table packs an array if the keys are 1…n, else a map.
func (p *packer) table(t *lua.LTable, depth int) {
	count, top, array := 0, 0.0, true
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		p.c.step(1)
		count++
		n, ok := k.(lua.LNumber)
		if !ok || n <= 0 || float64(n) != math.Floor(float64(n)) {
			array = false
		} else {
			top = max(top, float64(n))
		}
	}
	if array && top == float64(count) {
		p.head(count, 0x90, 0xdc)
		for i := 1; i <= count; i++ {
			p.value(t.RawGet(lua.LNumber(i)), depth)
		}
		return
	}
	p.head(count, 0x80, 0xde)
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		p.value(k, depth)
		p.value(v, depth)
	}
}

func (p *packer) head(n int, short, long byte) {
	switch {
	case n <= 15:
		p.out = append(p.out, short|byte(n))
	case n <= math.MaxUint16:
		p.out = binary.BigEndian.AppendUint16(append(p.out, long), uint16(n))
	default:
		p.out = binary.BigEndian.AppendUint32(append(p.out, long+1), uint32(n))
	}
}

// unpacker reads MessagePack.
type unpacker struct {
	c    call
	data string
	at   int
}

func msgpackUnpack(c call, limit, offset int) int {
	data := c.text(1)
	all := limit == 0 && offset == 0
	switch {
	case offset < 0 || limit < 0:
		c.fail("Invalid request to unpack with offset of " + itoa(offset) + " and limit of " + itoa(len(data)) + ".")
	case offset > len(data):
		c.fail("Start offset " + itoa(offset) + " greater than input length " + itoa(len(data)) + ".")
	}
	u := &unpacker{c: c, data: data, at: offset}
	base := c.n()
	if !all {
		c.Push(lua.LNil) // becomes the offset
	}
	for n := 0; u.at < len(data) && (all || n < limit); n++ {
		if c.n()-base >= maxUnpack-base {
			c.fail("stack overflow (in function mp_decode_to_lua_type)")
		}
		c.Push(u.value(0))
	}
	if !all {
		next := u.at
		if next == len(data) {
			next = -1
		}
		c.Replace(base+1, lua.LNumber(next))
	}
	return c.n() - base
}

// take is the next n bytes.
func (u *unpacker) take(n int) string {
	if n > len(u.data)-u.at {
		u.c.fail("Missing bytes in input.")
	}
	u.at += n
	return u.data[u.at-n : u.at]
}

func (u *unpacker) uint(bytes int) uint64 {
	var n uint64
	for _, b := range []byte(u.take(bytes)) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (u *unpacker) text(n int) lua.LValue {
	s := u.take(n)
	u.c.charge(n)
	return lua.LString(strings.Clone(s))
}

func (u *unpacker) value(depth int) lua.LValue {
	u.c.step(1)
	b := u.take(1)[0]
	switch {
	case b <= 0x7f:
		return lua.LNumber(b)
	case b >= 0xe0:
		return lua.LNumber(int8(b))
	case b <= 0x8f:
		return u.fields(int(b&15), depth)
	case b <= 0x9f:
		return u.array(int(b&15), depth)
	case b <= 0xbf:
		return u.text(int(b & 31))
	}
	switch b {
	case 0xc0:
		return lua.LNil
	case 0xc2:
		return lua.LFalse
	case 0xc3:
		return lua.LTrue
	case 0xca:
		return lua.LNumber(math.Float32frombits(uint32(u.uint(4))))
	case 0xcb:
		return lua.LNumber(math.Float64frombits(u.uint(8)))
	case 0xcc:
		return lua.LNumber(u.uint(1))
	case 0xcd:
		return lua.LNumber(u.uint(2))
	case 0xce:
		return lua.LNumber(u.uint(4))
	case 0xd0:
		return lua.LNumber(int8(u.uint(1)))
	case 0xd1:
		return lua.LNumber(int16(u.uint(2)))
	case 0xd2:
		return lua.LNumber(int32(u.uint(4)))
	case 0xcf, 0xd3:
		return lua.LNumber(int64(u.uint(8)))
	case 0xd9:
		return u.text(int(u.uint(1)))
	case 0xda:
		return u.text(int(u.uint(2)))
	case 0xdb:
		return u.text(int(u.uint(4)))
	case 0xdc:
		return u.array(int(u.uint(2)), depth)
	case 0xdd:
		return u.array(int(u.uint(4)), depth)
	case 0xde:
		return u.fields(int(u.uint(2)), depth)
	case 0xdf:
		return u.fields(int(u.uint(4)), depth)
	}
	u.c.fail("Bad data format in input.")
	return nil
}

// enter begins a table, which counts as the script's while it is filled.
func (u *unpacker) enter(depth int, what string) *lua.LTable {
	if depth >= maxUnpackDepth {
		u.c.fail("stack overflow (in function mp_decode_to_lua_" + what + ")")
	}
	return u.c.making()
}

func (u *unpacker) array(n, depth int) lua.LValue {
	t := u.enter(depth, "array")
	for i := 1; i <= n; i++ {
		t.RawSetInt(i, u.value(depth+1))
	}
	return u.c.made()
}

func (u *unpacker) fields(n, depth int) lua.LValue {
	t := u.enter(depth, "hash")
	for range n {
		k := u.value(depth + 1)
		u.c.rawSet(t, k, u.value(depth+1))
	}
	return u.c.made()
}

// making begins a table that a decoder fills; it is measured with the rest.
func (c call) making() *lua.LTable {
	t := &lua.LTable{Metatable: lua.LNil}
	c.in.making = append(c.in.making, t)
	return t
}

// made ends the table that was begun last.
func (c call) made() *lua.LTable {
	last := len(c.in.making) - 1
	t := c.in.making[last]
	c.in.making[last] = nil
	c.in.making = c.in.making[:last]
	return t
}
