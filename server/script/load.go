package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func baseLoadString(c call) int {
	s := c.text(1)
	return c.load(s, c.optText(2, s))
}

func baseLoad(c call) int {
	f := c.function(1)
	name := c.optText(2, "=(load)")
	var b strings.Builder
	for {
		v, failed := c.in.protected(c.LState, f)
		if failed != nil {
			c.Push(lua.LNil)
			c.Push(failed.Object)
			return 2
		}
		piece := lua.LValue(lua.LNil)
		if len(v) > 0 {
			piece = v[0]
		}
		s, ok := toText(piece)
		if piece != lua.LNil && !ok {
			c.Push(lua.LNil)
			c.pushText("reader function must return a string")
			return 2
		}
		if s == "" {
			break
		}
		c.charge(len(s))
		if b.WriteString(s); b.Len() > c.in.limits.MaxScriptBytes {
			break // refused by load
		}
	}
	return c.load(b.String(), name)
}

// load compiles a chunk that a script made.
func (c call) load(source, name string) int {
	var proto *lua.FunctionProto
	var err error
	switch {
	case strings.HasPrefix(source, "\x1b"):
		c.Push(lua.LNil)
		c.pushText(chunkName(name) + ": bad header in precompiled chunk")
		return 2
	case len(source) > c.in.limits.MaxScriptBytes:
		c.Push(lua.LNil)
		c.pushText("chunk too large")
		return 2
	default:
		c.charge(len(source) * 20)
		c.step(len(source))
		proto, err = compile(source, chunkName(name))
	}
	if err != nil {
		c.Push(lua.LNil)
		c.pushText(err.Error())
		return 2
	}
	c.Push(c.in.closure(proto))
	return 1
}

// closure makes a function of a compiled chunk.
func (in *interp) closure(proto *lua.FunctionProto) *lua.LFunction {
	f := &lua.LFunction{Env: in.env, Proto: proto}
	if n := int(proto.NumUpvalues); n > 0 {
		f.Upvalues = make([]*lua.Upvalue, n)
		for i := range f.Upvalues {
			f.Upvalues[i] = in.hidden[proto.DbgUpvalues[i]]
		}
	}
	return f
}

// chunkName is Lua's luaO_chunkid.
func chunkName(name string) string {
	const room = 60
	switch {
	case strings.HasPrefix(name, "="):
		return name[1:min(len(name), room)]
	case strings.HasPrefix(name, "@"):
		return name[1:]
	}
	line, _, more := strings.Cut(name, "\n")
	if most := room - len(`[string "..."]`) - 1; len(line) > most {
		line, more = line[:most], true
	}
	if more {
		line += "..."
	}
	return `[string "` + line + `"]`
}
