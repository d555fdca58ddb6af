package script

import (
	"context"
	"strconv"

	"crema/resp"

	lua "github.com/yuin/gopher-lua"
)

// Run runs a cached script. What the script answers, an error of its own
// included, is the reply; the error is ErrNoScript, or why the script was
// stopped: ErrKilled when ctx ended, ErrMemory at its memory limit.
func (e *Engine) Run(ctx context.Context, sha string, keys, argv [][]byte, h Host) (resp.Reply, error) {
	s := e.touch(sha, evaluated)
	if s == nil {
		return resp.None, ErrNoScript
	}
	in := e.borrow()
	in.guard.reset(ctx)
	in.start(s, keys, argv, h)
	reply := in.run(s)
	verdict := in.guard.verdict
	e.giveBack(in)
	if verdict != nil {
		return resp.None, verdict
	}
	return reply, nil
}

// run calls the script's main function.
func (in *interp) run(s *script) (reply resp.Reply) {
	L := in.L
	L.Push(in.trap)
	L.Push(in.native(func(c call) int {
		c.Push(in.closure(s.proto))
		c.Call(0, 1)
		reply = c.toReply(c.Get(-1), 0)
		return 0
	}))
	if err := L.PCall(1, 0, nil); err != nil {
		failed, ok := err.(*lua.ApiError)
		if !ok {
			return resp.Error("ERR " + err.Error())
		}
		return in.errorReply(failed.Object)
	}
	return reply
}

// errorReply is the reply of a script that ended with an error.
func (in *interp) errorReply(v lua.LValue) resp.Reply {
	var text string
	if t, ok := v.(*lua.LTable); ok {
		if text, ok = toText(field(t, "err")); !ok {
			text = "ERR unknown error"
		}
	} else if s, ok := toText(v); ok {
		text = "ERR " + s
	} else {
		text = "ERR " + v.String()
	}
	if in.failed.line != 0 && in.failed.source != "" {
		text += " script: " + in.script.sha + ", on @" + in.failed.source + ":" + strconv.Itoa(in.failed.line) + "."
	}
	return resp.Error(text)
}

// field reads a field of an error through tables of metatables, but runs no
// function of the script any more.
func field(t *lua.LTable, name string) lua.LValue {
	for range 10 {
		if v := t.RawGetString(name); v != lua.LNil {
			return v
		}
		meta, ok := t.Metatable.(*lua.LTable)
		if !ok {
			break
		}
		if t, ok = meta.RawGetString("__index").(*lua.LTable); !ok {
			break
		}
	}
	return lua.LNil
}
