package script

import (
	lua "github.com/yuin/gopher-lua"
)

// trapped is the function through which pcall and a run call Lua. It spares
// gopher-lua the stack trace, and closes the upvalues of just the frames that
// an error ends: by itself gopher-lua closes those of the callers too, and a
// closure then no longer shares its variable with the function that goes on.
func (in *interp) trapped(L *lua.LState) int {
	v := viewState(L)
	v.hasErrorFunc = true
	L.Panic = in.onPanic
	base := v.currentFrame.LocalBase
	defer func() {
		if r := recover(); r != nil {
			err := in.recovered(L, r)
			in.noteFailure(L)
			closeUpvalues(L, base)
			panic(err)
		}
	}()
	L.Call(L.GetTop()-1, lua.MultRet)
	return L.GetTop()
}

// noteFailure remembers where an error was raised, for the last line of a
// script's error.
func (in *interp) noteFailure(L *lua.LState) {
	f := viewState(L).currentFrame
	if f != nil && f.Fn.IsG {
		f = f.Parent
	}
	in.failed.source, in.failed.line = position(f)
}

// protected calls a function; failed is its error.
func (in *interp) protected(L *lua.LState, f lua.LValue, args ...lua.LValue) (results []lua.LValue, failed *lua.ApiError) {
	in.nest(L)
	v := viewState(L)
	had, nested, depth, base, panicked := v.hasErrorFunc, in.nested, in.coDepth, in.coBase, L.Panic
	making, building := len(in.making), in.building
	top := L.GetTop()
	L.Push(in.trap)
	L.Push(f)
	for _, a := range args {
		L.Push(a)
	}
	err := L.PCall(len(args)+1, lua.MultRet, nil)
	v.hasErrorFunc, in.nested, in.coDepth, in.coBase, L.Panic = had, nested-1, depth, base, panicked
	if err != nil {
		in.making, in.building = in.making[:making], building
		L.SetTop(top)
		if failed, ok := err.(*lua.ApiError); ok {
			return nil, failed
		}
		return nil, &lua.ApiError{Object: lua.LString(err.Error()), StackTrace: noTrace}
	}
	n := L.GetTop() - top
	results = make([]lua.LValue, n)
	for i := range results {
		results[i] = L.Get(top + 1 + i)
	}
	L.SetTop(top)
	return results, nil
}

// callable tells whether a value can be called.
func (c call) callable(v lua.LValue) bool {
	if _, ok := v.(*lua.LFunction); ok {
		return true
	}
	_, ok := c.metamethod(v, "__call").(*lua.LFunction)
	return ok
}

func (c call) args(from int) []lua.LValue {
	if from > c.n() {
		return nil
	}
	list := make([]lua.LValue, 0, c.n()-from+1)
	for i := from; i <= c.n(); i++ {
		list = append(list, c.Get(i))
	}
	return list
}

func (c call) answer(ok bool, values ...lua.LValue) int {
	c.Push(lua.LBool(ok))
	for _, v := range values {
		c.Push(v)
	}
	return len(values) + 1
}

// basePcall is Redis's pcall: of an error table it returns the text.
func basePcall(c call) int {
	if c.n() == 0 {
		return 0
	}
	f := c.Get(1)
	if !c.callable(f) {
		return c.answer(false, lua.LString("attempt to call a "+f.Type().String()+" value"))
	}
	results, failed := c.in.protected(c.LState, f, c.args(2)...)
	if failed == nil {
		return c.answer(true, results...)
	}
	v := failed.Object
	if t, ok := v.(*lua.LTable); ok {
		if s, ok := toText(c.GetField(t, "err")); ok {
			v = lua.LString(s)
		}
	}
	return c.answer(false, v)
}

func baseXpcall(c call) int {
	c.requireAny(2)
	f, handler := c.Get(1), c.Get(2)
	var results []lua.LValue
	var failed *lua.ApiError
	if c.callable(f) {
		results, failed = c.in.protected(c.LState, f)
	} else {
		failed = &lua.ApiError{Object: lua.LString("attempt to call a " + f.Type().String() + " value")}
	}
	if failed == nil {
		return c.answer(true, results...)
	}
	if !c.callable(handler) {
		return c.answer(false, lua.LString("error in error handling"))
	}
	results, worse := c.in.protected(c.LState, handler, failed.Object)
	if worse != nil {
		return c.answer(false, lua.LString("error in error handling"))
	}
	if len(results) == 0 {
		return c.answer(false, lua.LNil)
	}
	return c.answer(false, results[0])
}
