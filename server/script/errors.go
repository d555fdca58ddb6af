package script

import (
	"runtime"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

const (
	textReadonly = "Attempt to modify a readonly table"
	textOverflow = "stack overflow"
	textYield    = "attempt to yield across metamethod/C-call boundary"
)

// noTrace keeps gopher-lua from building a stack trace for every error, which
// costs the square of the depth.
const noTrace = "-"

// raise ends the running function with an error value.
func (in *interp) raise(L *lua.LState, v lua.LValue) {
	if !viewState(L).hasErrorFunc {
		closeUpvalues(L, 0)
	}
	panic(&lua.ApiError{Type: lua.ApiErrorRun, Object: v, StackTrace: noTrace})
}

// fail raises a text with the position of the caller in front, as luaL_error.
func (in *interp) fail(L *lua.LState, text string) {
	in.raise(L, lua.LString(where(L, 1)+text))
}

// failBare raises a text without a position, as Lua does for the errors of its
// core inside a library function.
func (in *interp) failBare(L *lua.LState, text string) { in.raise(L, lua.LString(text)) }

// badArg raises luaL_argerror's text for the running library function.
func (in *interp) badArg(L *lua.LState, n int, why string) {
	name, method := callName(L)
	if method {
		n--
		if n == 0 {
			in.fail(L, "calling '"+name+"' on bad self ("+why+")")
		}
	}
	in.fail(L, "bad argument #"+strconv.Itoa(n)+" to '"+name+"' ("+why+")")
}

// callName is the name by which the running function was called and whether
// it was called as a method.
func callName(L *lua.LState) (name string, method bool) {
	v := viewState(L)
	f := v.currentFrame
	if f == nil || f.Parent == nil || f.Parent.Fn.IsG {
		return "?", false
	}
	p := f.Parent
	pc := p.Pc - 1
	if pc < 0 || pc >= len(p.Fn.Proto.Code) {
		return "?", false
	}
	i := p.Fn.Proto.Code[pc]
	if op := opcode(i); op != lua.OP_CALL && op != lua.OP_TAILCALL {
		return "?", false
	}
	kind, name := objectName(p.Fn.Proto, pc, argA(i))
	if kind == "" {
		return "?", false
	}
	return name, kind == "method"
}

// frameAt finds the function that is level calls up from the running one;
// nil is a lost tail call or none.
func frameAt(L *lua.LState, level int) *frameView {
	f := viewState(L).currentFrame
	for ; f != nil && level > 0; f = f.Parent {
		level--
		if !f.Fn.IsG {
			level -= f.TailCall
		}
	}
	if level < 0 {
		return nil
	}
	return f
}

// position is a frame's source and line, for example "user_script", 3.
func position(f *frameView) (source string, line int) {
	if f == nil || f.Fn.IsG {
		return "", -1
	}
	p := f.Fn.Proto
	if pc := f.Pc - 1; pc >= 0 && pc < len(p.DbgSourcePositions) {
		return p.SourceName, p.DbgSourcePositions[pc]
	}
	return p.SourceName, p.LineDefined
}

// where is luaL_where: the position in front of an error text.
func where(L *lua.LState, level int) string {
	source, line := position(frameAt(L, level))
	if line <= 0 {
		return ""
	}
	return source + ":" + strconv.Itoa(line) + ": "
}

// onPanic raises what the interpreter itself pushed, in Lua's words.
func (in *interp) onPanic(L *lua.LState) {
	v := L.Get(-1)
	if s, ok := v.(lua.LString); ok {
		v = lua.LString(translate(L, string(s)))
	}
	panic(&lua.ApiError{Type: lua.ApiErrorRun, Object: v, StackTrace: noTrace})
}

// recovered makes an error value of a recovered panic.
func (in *interp) recovered(L *lua.LState, r any) *lua.ApiError {
	if e, ok := r.(*lua.ApiError); ok {
		return e
	}
	text, _ := r.(string)
	switch {
	case text == "lua callstack overflow":
		text = where(L, 0) + textOverflow
	default:
		// A broken invariant of the interpreter: the script fails and this
		// interpreter is not used again.
		in.worn = true
		text = "internal error"
		if e, ok := r.(runtime.Error); ok {
			text = e.Error()
		}
	}
	in.worn = true
	return &lua.ApiError{Type: lua.ApiErrorRun, Object: lua.LString(text), StackTrace: noTrace}
}

// translate turns gopher-lua's text for an error in a Lua function into Lua's.
func translate(L *lua.LState, text string) string {
	v := viewState(L)
	f := v.currentFrame
	if f == nil || f.Fn.IsG {
		for _, bad := range []string{"table index is nil", "table index is NaN"} {
			if strings.HasSuffix(text, bad) {
				return bad
			}
		}
		return text
	}
	source, line := position(f)
	prefix := source + ":" + strconv.Itoa(line) + ": "
	body, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return text
	}
	proto, pc := f.Fn.Proto, f.Pc-1
	i := proto.Code[pc]
	named := func(reg int, what string, kind string) string {
		return prefix + "attempt to " + what + " " + describe(proto, pc, reg, kind)
	}
	switch {
	case strings.HasPrefix(body, "attempt to index a non-table object("):
		kind, _, _ := strings.Cut(strings.TrimPrefix(body, "attempt to index a non-table object("), ")")
		reg := argB(i)
		if op := opcode(i); op == lua.OP_SETTABLE || op == lua.OP_SETTABLEKS {
			reg = argA(i)
		}
		return named(reg, "index", kind)
	case body == "attempt to call a non-function object":
		reg := argA(i)
		kind := v.register(f, reg).Type().String()
		if opcode(i) == lua.OP_TFORLOOP {
			return prefix + "attempt to call a " + kind + " value"
		}
		return named(reg, "call", kind)
	case strings.HasPrefix(body, "cannot perform "):
		return prefix + arithText(v, f, i)
	case body == "__unm undefined":
		return named(argB(i), "perform arithmetic on", operand(v, f, argB(i)).Type().String())
	case body == "__len undefined":
		return named(argB(i), "get length of", operand(v, f, argB(i)).Type().String())
	case strings.HasPrefix(body, "attempt to compare "):
		a, b, _ := strings.Cut(strings.TrimPrefix(body, "attempt to compare "), " with ")
		return prefix + compareText(a, b)
	case body == "registry overflow":
		return prefix + textOverflow
	}
	return text
}

func compareText(a, b string) string {
	if a == b {
		return "attempt to compare two " + a + " values"
	}
	return "attempt to compare " + a + " with " + b
}

// arithText names the operand of an arithmetic instruction that is no number.
func arithText(v *stateView, f *frameView, i uint32) string {
	reg := argC(i)
	if opcode(i) == lua.OP_UNM {
		reg = argB(i)
	} else if _, ok := toNumber(operand(v, f, argB(i))); !ok {
		reg = argB(i)
	}
	kind := operand(v, f, reg).Type().String()
	return "attempt to perform arithmetic on " + describe(f.Fn.Proto, f.Pc-1, reg, kind)
}

// describe is "local 'a' (a nil value)", or "a nil value" for what has no name.
func describe(p *lua.FunctionProto, pc, reg int, kind string) string {
	if scope, name := objectName(p, pc, reg); scope != "" {
		return scope + " '" + name + "' (a " + kind + " value)"
	}
	return "a " + kind + " value"
}
