package script

import (
	"fmt"
	"reflect"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

// The views are the beginnings of gopher-lua's structs as far as this package
// reads them: positions and variable names for error messages, registers and
// table sizes for the measurement of memory, open upvalues for pcall, and what
// a compiled function keeps.
type (
	stateView struct {
		G            *lua.Global
		Parent       *lua.LState
		Env          *lua.LTable
		Panic        func(*lua.LState)
		Dead         bool
		Options      lua.Options
		stop         int32
		reg          *registryView
		stack        [2]uintptr
		alloc        unsafe.Pointer
		currentFrame *frameView
		wrapped      bool
		uvcache      *upvalueView
		hasErrorFunc bool
	}
	registryView struct {
		array []lua.LValue
		top   int
	}
	frameView struct {
		Idx        int
		Fn         *lua.LFunction
		Parent     *frameView
		Pc         int
		Base       int
		LocalBase  int
		ReturnBase int
		NArgs      int
		NRet       int
		TailCall   int
	}
	upvalueView struct {
		next   *upvalueView
		reg    *registryView
		index  int
		value  lua.LValue
		closed bool
	}
	tableView struct {
		Metatable lua.LValue
		array     []lua.LValue
		dict      map[lua.LValue]lua.LValue
		strdict   map[string]lua.LValue
		keys      []lua.LValue
		k2i       map[lua.LValue]int
	}
	protoView struct {
		SourceName         string
		LineDefined        int
		LastLineDefined    int
		NumUpvalues        uint8
		NumParameters      uint8
		IsVarArg           uint8
		NumUsedRegisters   uint8
		Code               []uint32
		Constants          []lua.LValue
		FunctionPrototypes []*lua.FunctionProto
		DbgSourcePositions []int
		DbgLocals          []*lua.DbgLocalInfo
		DbgCalls           []lua.DbgCall
		DbgUpvalues        []string
		stringConstants    []string
	}
)

func init() {
	if err := checkViews(); err != nil {
		panic(err)
	}
}

// checkViews compares each view with the struct that it stands for.
func checkViews() error {
	state := reflect.TypeFor[lua.LState]()
	reg, _ := state.FieldByName("reg")
	frame, _ := state.FieldByName("currentFrame")
	pairs := []struct{ view, real reflect.Type }{
		{reflect.TypeFor[stateView](), state},
		{reflect.TypeFor[registryView](), reg.Type.Elem()},
		{reflect.TypeFor[frameView](), frame.Type.Elem()},
		{reflect.TypeFor[upvalueView](), reflect.TypeFor[lua.Upvalue]()},
		{reflect.TypeFor[tableView](), reflect.TypeFor[lua.LTable]()},
		{reflect.TypeFor[protoView](), reflect.TypeFor[lua.FunctionProto]()},
	}
	for _, p := range pairs {
		for i := range p.view.NumField() {
			mine := p.view.Field(i)
			theirs, ok := p.real.FieldByName(mine.Name)
			if !ok || mine.Offset != theirs.Offset || mine.Type.Size() != theirs.Type.Size() {
				return fmt.Errorf("script: %v.%s is not where this package expects it", p.real, mine.Name)
			}
		}
	}
	return nil
}

func viewState(L *lua.LState) *stateView        { return (*stateView)(unsafe.Pointer(L)) }
func viewTable(t *lua.LTable) *tableView        { return (*tableView)(unsafe.Pointer(t)) }
func viewProto(p *lua.FunctionProto) *protoView { return (*protoView)(unsafe.Pointer(p)) }
func (u *upvalueView) real() *lua.Upvalue       { return (*lua.Upvalue)(unsafe.Pointer(u)) }

// register is the value in register i of a frame.
func (v *stateView) register(f *frameView, i int) lua.LValue {
	at := f.LocalBase + i
	if at < 0 || at >= len(v.reg.array) || v.reg.array[at] == nil {
		return lua.LNil
	}
	return v.reg.array[at]
}

// closeUpvalues gives the closures that captured registers from base on their
// own copies, before these registers are dropped.
func closeUpvalues(L *lua.LState, base int) {
	v := viewState(L)
	var prev *upvalueView
	for uv := v.uvcache; uv != nil; uv = uv.next {
		if uv.index < base {
			prev = uv
			continue
		}
		if prev != nil {
			prev.next = nil
		} else {
			v.uvcache = nil
		}
		for ; uv != nil; uv = uv.next {
			uv.real().Close()
		}
		return
	}
}
