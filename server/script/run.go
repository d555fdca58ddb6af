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
func (e *Engine) Run(ctx context.Context, s *Script, keys, argv [][]byte, h Host) (resp.Reply, error) {
	in := e.borrow(s)
	if in == nil {
		return resp.None, ErrNoScript
	}
	in.guard.reset(ctx)
	in.start(s, keys, argv, h)
	reply := in.run()
	verdict := in.guard.verdict
	e.giveBack(in)
	if verdict != nil {
		return resp.None, verdict
	}
	return reply, nil
}

// run calls the script's main function.
func (in *interp) run() resp.Reply {
	L := in.L
	L.Push(in.trap)
	L.Push(in.entry)
	if err := L.PCall(1, 0, nil); err != nil {
		failed, ok := err.(*lua.ApiError)
		if !ok {
			return resp.Error("ERR " + err.Error())
		}
		return in.errorReply(failed.Object)
	}
	return in.reply
}

// enter is the library function that a run calls.
func (in *interp) enter(L *lua.LState) int {
	if in.mainOf != in.script { // no script can get at its main function
		in.main, in.mainOf = in.closure(in.script.proto), in.script
	}
	c := call{in, L}
	c.Push(in.main)
	c.Call(0, 1)
	in.reply = c.toReply(c.Get(-1), 0)
	return 0
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
		text += " script: " + in.script.SHA + ", on @" + in.failed.source + ":" + strconv.Itoa(in.failed.line) + "."
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
