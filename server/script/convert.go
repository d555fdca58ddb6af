package script

import (
	"strings"
	"unsafe"

	"crema/resp"

	lua "github.com/yuin/gopher-lua"
)

// fromReply makes the Lua value of a command's reply, in the script's protocol.
func (c call) fromReply(r resp.Reply, depth int) lua.LValue {
	c.step(1)
	rich := c.in.proto >= 3
	switch r.Kind {
	case resp.KindInt:
		return lua.LNumber(r.Int)
	case resp.KindBulk:
		return c.bulk(r.Bytes)
	case resp.KindSimple:
		return c.single("ok", c.bulk(r.Bytes))
	case resp.KindError:
		t := c.errorTable("-" + string(r.Bytes))
		t.RawSetString("ignore_error_stats_update", lua.LTrue)
		return t
	case resp.KindBool:
		if rich {
			return lua.LBool(r.Int != 0)
		}
		return lua.LNumber(r.Int)
	case resp.KindDouble:
		if rich {
			return c.single("double", lua.LNumber(r.Float()))
		}
		return lua.LString(appendNumber(nil, r.Float(), 17))
	case resp.KindBigInt:
		if rich {
			return c.single("big_number", c.bulk(r.Bytes))
		}
		return c.bulk(r.Bytes)
	case resp.KindVerbatim:
		format, text, _ := strings.Cut(string(r.Bytes), ":")
		if !rich {
			return c.bulk([]byte(text))
		}
		t := c.CreateTable(0, 2)
		t.RawSetString("format", lua.LString(format))
		t.RawSetString("string", c.bulk([]byte(text)))
		return c.single("verbatim_string", t)
	case resp.KindArray, resp.KindPush:
		return c.list(r.Elems, depth)
	case resp.KindSet:
		if rich {
			return c.single("set", c.members(r.Elems, depth))
		}
		return c.list(r.Elems, depth)
	case resp.KindMap:
		if rich {
			return c.single("map", c.pairs(r.Elems, depth))
		}
		return c.list(r.Elems, depth)
	}
	if rich {
		return lua.LNil
	}
	return lua.LFalse
}

func (c call) bulk(b []byte) lua.LValue {
	c.charge(len(b))
	return lua.LString(b)
}

func (c call) single(field string, v lua.LValue) lua.LValue {
	t := c.CreateTable(0, 1)
	t.RawSetString(field, v)
	return t
}

// deeper refuses replies that nest beyond all measure.
func (c call) deeper(depth int) int {
	if depth >= c.in.limits.MaxReplyDepth {
		c.raiseText("reached lua stack limit")
	}
	return depth + 1
}

func (c call) list(elems []resp.Reply, depth int) lua.LValue {
	depth = c.deeper(depth)
	c.charge(len(elems) * 16)
	t := c.making()
	if len(elems) > 0 {
		viewTable(t).array = make([]lua.LValue, 0, len(elems))
	}
	for _, e := range elems {
		v := c.fromReply(e, depth)
		view := viewTable(t)
		view.array = append(view.array, v)
	}
	return c.made()
}

func (c call) members(elems []resp.Reply, depth int) lua.LValue {
	depth = c.deeper(depth)
	t := c.making()
	for _, e := range elems {
		if k := c.fromReply(e, depth); k != lua.LNil {
			c.rawSet(t, k, lua.LTrue)
		}
	}
	return c.made()
}

func (c call) pairs(elems []resp.Reply, depth int) lua.LValue {
	depth = c.deeper(depth)
	t := c.making()
	for i := 0; i+1 < len(elems); i += 2 {
		k := c.fromReply(elems[i], depth)
		if v := c.fromReply(elems[i+1], depth); k != lua.LNil {
			c.rawSet(t, k, v)
		}
	}
	return c.made()
}

const replyBytes = int(unsafe.Sizeof(resp.Reply{}))

// maxHead is what surrounds a part of a reply on the wire, or all of a number.
const maxHead = 24

// reply accounts for one more part of the reply before it is made: the bytes
// that are sent, of a string that a table holds a thousand times as often, and
// those of them that are copied.
func (c call) reply(sent, copied int) {
	in := c.in
	if in.replied += sent + maxHead; in.replied > in.limits.MaxReplyBytes {
		in.guard.stop(c.LState, ErrReply)
	}
	kept := copied + 2*replyBytes // the list that it is in has grown by appending
	c.charge(kept)
	in.building += int64(kept)
}

// toReply makes the reply of a script's result.
func (c call) toReply(v lua.LValue, depth int) resp.Reply {
	c.step(1)
	switch v := v.(type) {
	case lua.LString:
		c.reply(len(v), 0)
		return resp.BulkString(string(v))
	case *lua.LTable:
		if depth >= c.in.limits.MaxReplyDepth {
			return resp.Error("ERR reached lua stack limit")
		}
		return c.tableReply(c.in.real(v), depth+1)
	}
	c.reply(0, 0)
	switch v := v.(type) {
	case lua.LNumber:
		return resp.Int(truncate(float64(v)))
	case lua.LBool:
		switch {
		case c.in.proto >= 3:
			return resp.Bool(bool(v))
		case bool(v):
			return resp.One
		}
	}
	return resp.Nil
}

// tableReply is the reply of a table: of one that says its type, or an array.
func (c call) tableReply(t *lua.LTable, depth int) resp.Reply {
	if s, ok := t.RawGetString("err").(lua.LString); ok {
		c.reply(len(s), 0)
		return resp.Error(string(s))
	}
	if s, ok := t.RawGetString("ok").(lua.LString); ok {
		c.reply(len(s), 0)
		return resp.Simple(string(s))
	}
	c.reply(0, 0)
	if n, ok := t.RawGetString("double").(lua.LNumber); ok {
		return resp.Double(float64(n))
	}
	if m, ok := t.RawGetString("map").(*lua.LTable); ok {
		return resp.Map(c.fields(c.in.real(m), depth, true)...)
	}
	if s, ok := t.RawGetString("set").(*lua.LTable); ok {
		return resp.Set(c.fields(c.in.real(s), depth, false)...)
	}
	if s, ok := t.RawGetString("big_number").(lua.LString); ok {
		c.reply(len(s), 2*len(s))
		line := strings.NewReplacer("\r", " ", "\n", " ").Replace(string(s))
		return resp.BigInt([]byte(line))
	}
	if v, ok := t.RawGetString("verbatim_string").(*lua.LTable); ok {
		text, ok := v.RawGetString("string").(lua.LString)
		format, ok2 := v.RawGetString("format").(lua.LString)
		if ok && ok2 {
			c.reply(len(text), len(text))
			return resp.Verbatim((string(format[:min(len(format), 3)]) + "   ")[:3], string(text))
		}
	}
	var elems []resp.Reply
	for i := 1; ; i++ {
		v := t.RawGet(lua.LNumber(i))
		if v == lua.LNil {
			return resp.Array(elems...)
		}
		elems = append(elems, c.toReply(v, depth))
	}
}

// fields are the keys of a table, with their values if wanted.
func (c call) fields(t *lua.LTable, depth int, values bool) (elems []resp.Reply) {
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		elems = append(elems, c.toReply(k, depth))
		if values {
			elems = append(elems, c.toReply(v, depth))
		}
	}
	return elems
}
