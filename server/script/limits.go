package script

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"time"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

// Limits bounds what scripts may use. A zero field means its default.
type Limits struct {
	MaxMemoryBytes int64 // what one running script's values may reach
	MaxReplyDepth  int   // nesting of a reply, which Redis's own Lua stack bounds
	MaxReplyBytes  int   // a reply as it is sent
	MaxStackDepth  int   // Lua calls inside each other
	MaxScriptBytes int   // source of one script
	MaxCacheBytes  int64 // memory of all cached scripts; the least recently used ones go
	MaxEvalScripts int   // scripts cached by EVAL
	MaxIdle        int   // warm interpreters kept between runs
}

// DefaultLimits are the limits of a server.
var DefaultLimits = Limits{
	MaxMemoryBytes: 256 << 20,
	MaxReplyDepth:  2600,
	MaxReplyBytes:  512 << 20,
	MaxStackDepth:  20000,
	MaxScriptBytes: 4 << 20,
	MaxCacheBytes:  64 << 20,
	MaxEvalScripts: 500,
	MaxIdle:        8,
}

func (l Limits) withDefaults() Limits {
	fill := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	if l.MaxMemoryBytes == 0 {
		l.MaxMemoryBytes = DefaultLimits.MaxMemoryBytes
	}
	if l.MaxCacheBytes == 0 {
		l.MaxCacheBytes = DefaultLimits.MaxCacheBytes
	}
	fill(&l.MaxReplyDepth, DefaultLimits.MaxReplyDepth)
	fill(&l.MaxReplyBytes, DefaultLimits.MaxReplyBytes)
	fill(&l.MaxStackDepth, DefaultLimits.MaxStackDepth)
	fill(&l.MaxScriptBytes, DefaultLimits.MaxScriptBytes)
	fill(&l.MaxEvalScripts, DefaultLimits.MaxEvalScripts)
	fill(&l.MaxIdle, DefaultLimits.MaxIdle)
	return l
}

// What ends a script without an answer of its own.
var (
	ErrKilled   = errors.New("script killed")
	ErrMemory   = errors.New("script reached its memory limit")
	ErrReply    = fmt.Errorf("%w: its reply is too long", ErrMemory)
	ErrNoScript = errors.New("no such script")
)

const (
	pollEvery  = 2048      // instructions between two looks at the context and the clock
	stepsEvery = 1 << 14   // steps of a library loop between two looks
	chargeLook = 1 << 20   // bytes that library calls made between two looks
	maxWindow  = 256 << 20 // allocated bytes after which a script is measured in any case
)

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// guard is the context that the interpreter asks before each instruction. It
// counts the questions and now and then looks whether the script must end.
//
// Bound: the values of a script are measured whenever the process has allocated
// half of what the script has left, or an eighth of the limit. So they exceed
// the limit by no more than that eighth and what pollEvery instructions make.
type guard struct {
	in      *interp
	ctx     context.Context // the caller's
	limit   int64
	verdict error // sticky
	ticks   uint32
	steps   int
	charged int64
	live    int64  // bytes at the last measurement
	mark    uint64 // allocation clock at the last measurement
	window  uint64 // how far the clock may run until the next one
	sample  [1]metrics.Sample
}

func (g *guard) reset(ctx context.Context) {
	g.ctx, g.verdict = ctx, nil
	g.ticks, g.steps, g.charged, g.live, g.mark, g.window = 0, 0, 0, 0, 0, uint64(g.limit)/8
	g.sample[0].Name = "/gc/heap/allocs:bytes"
	if ctx.Err() != nil {
		g.verdict = ErrKilled
	}
}

func (g *guard) Deadline() (time.Time, bool) { return time.Time{}, false }
func (g *guard) Value(any) any               { return nil }

// Done is asked before each instruction; nil means go on.
func (g *guard) Done() <-chan struct{} {
	if g.ticks++; g.ticks%pollEvery == 0 {
		g.poll()
	}
	if g.verdict != nil {
		return closedChan
	}
	return nil
}

// Err is what an instruction raises after the verdict.
func (g *guard) Err() error { return g.verdict }

// poll looks whether the script must end.
func (g *guard) poll() {
	if g.verdict != nil {
		return
	}
	if g.ctx.Err() != nil {
		g.verdict = ErrKilled
		return
	}
	g.in.noteDepth()
	clock := g.clock()
	if g.mark == 0 {
		g.mark = clock
	}
	if clock-g.mark > g.window {
		g.measure(0)
	}
}

// clock is how many bytes the process has ever allocated.
func (g *guard) clock() uint64 {
	metrics.Read(g.sample[:])
	return g.sample[0].Value.Uint64()
}

// measure gives the verdict if the script's values and the bytes it is about
// to add exceed the limit.
func (g *guard) measure(adding int64) {
	g.live = g.in.liveBytes(g.limit)
	if g.live+adding > g.limit {
		g.verdict = ErrMemory
		return
	}
	g.mark = g.clock() // after the measurement, which allocates too
	g.window = min(uint64(max((g.limit-g.live)/2, g.limit/8)), maxWindow)
}

// charge tells that a library is about to hold n bytes for the script; it does
// not return if the script may not have them.
func (g *guard) charge(L *lua.LState, n int64) {
	if n < 0 || n > g.limit {
		g.verdict = ErrMemory
	}
	if g.charged += n; g.charged > chargeLook && g.verdict == nil {
		g.charged = 0
		g.poll()
		if g.verdict == nil && g.live+int64(g.clock()-g.mark)+n > g.limit {
			g.measure(n)
		}
	}
	if g.verdict != nil {
		g.stop(L, g.verdict)
	}
}

// stop gives the verdict, and ends the function that is running.
func (g *guard) stop(L *lua.LState, verdict error) {
	g.verdict = verdict
	g.in.raise(L, lua.LString(verdict.Error()))
}

// step counts the work of a library loop; it does not return after the verdict.
func (g *guard) step(L *lua.LState, n int) {
	if g.steps += n; g.steps > stepsEvery {
		g.steps = 0
		g.poll()
	}
	if g.verdict != nil {
		g.stop(L, g.verdict)
	}
}

// Estimates of what Go keeps for a value, in bytes.
const (
	tableBytes    = 96
	fieldBytes    = 56 // a map entry with its share of empty slots
	functionBytes = 80
	upvalueBytes  = 80
	threadBytes   = 8 << 10
	pageBytes     = 256 // numbers are allocated in pages of 32 that live as long as one of them
	longString    = 64  // from here on a string is counted once, however often it is referred to
)

// liveBytes measures what the script's values reach, until it exceeds stop.
func (in *interp) liveBytes(stop int64) int64 {
	m := in.meter
	if m == nil {
		m = &meter{seen: make(map[unsafe.Pointer]struct{}), pages: make(map[uintptr]struct{})}
		in.meter = m
	}
	clear(m.seen)
	clear(m.pages)
	m.todo, m.total, m.stop, m.page = m.todo[:0], in.building, stop, 0
	m.thread(in.L)
	for L := in.L.G.CurrentThread; L != nil && L != in.L; L = L.Parent {
		m.thread(L)
	}
	for th, fn := range in.fresh {
		m.value(th)
		m.value(fn)
	}
	for _, t := range in.making {
		m.value(t)
	}
	m.value(in.globals.RawGetString("KEYS"))
	m.value(in.globals.RawGetString("ARGV"))
	for len(m.todo) > 0 && m.total <= stop {
		v := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		m.inside(v)
	}
	return m.total
}

type meter struct {
	seen  map[unsafe.Pointer]struct{}
	pages map[uintptr]struct{} // of numbers; addresses only, they keep nothing alive
	page  uintptr              // the last one
	todo  []lua.LValue
	total int64
	stop  int64
}

// first tells whether a thing is met for the first time.
func (m *meter) first(p unsafe.Pointer) bool {
	if _, known := m.seen[p]; known {
		return false
	}
	m.seen[p] = struct{}{}
	return true
}

func (m *meter) text(s string) {
	if len(s) < longString || m.first(unsafe.Pointer(unsafe.StringData(s))) {
		m.total += int64(len(s)) + 24
	}
}

func (m *meter) value(boxed lua.LValue) {
	switch v := boxed.(type) {
	case lua.LString:
		m.text(string(v))
	case lua.LNumber:
		if v < 0 || v > 127 || v != lua.LNumber(int(v)) {
			m.number(boxed)
		}
	case *lua.LTable:
		if m.first(unsafe.Pointer(v)) {
			m.todo = append(m.todo, v)
		}
	case *lua.LFunction:
		if m.first(unsafe.Pointer(v)) {
			m.todo = append(m.todo, v)
		}
	case *lua.LUserData:
		if m.first(unsafe.Pointer(v)) {
			m.total += tableBytes
			if it, ok := v.Value.(*matchIter); ok {
				m.text(it.src)
			}
		}
	case *lua.LState:
		m.thread(v)
	}
}

// number counts the page that a boxed number keeps alive.
func (m *meter) number(boxed lua.LValue) {
	page := (*[2]uintptr)(unsafe.Pointer(&boxed))[1] / pageBytes
	if page == m.page {
		return
	}
	m.page = page
	if _, known := m.pages[page]; !known {
		m.pages[page] = struct{}{}
		m.total += pageBytes
	}
}

func (m *meter) thread(L *lua.LState) {
	if L == nil || !m.first(unsafe.Pointer(L)) {
		return
	}
	reg := viewState(L).reg
	m.total += threadBytes + int64(cap(reg.array))*16
	for _, v := range reg.array[:reg.top] {
		m.value(v)
	}
}

// inside counts a table or a function and what it refers to.
func (m *meter) inside(v lua.LValue) {
	switch v := v.(type) {
	case *lua.LTable:
		t := viewTable(v)
		m.total += tableBytes + int64(cap(t.array)+cap(t.keys))*16 + int64(max(len(t.strdict), len(t.k2i))+len(t.dict)+len(t.k2i))*fieldBytes
		m.value(v.Metatable)
		for _, e := range t.array {
			m.value(e)
			if m.total > m.stop {
				return
			}
		}
		for _, k := range t.keys {
			m.value(k)
			if s, ok := k.(lua.LString); ok && len(s) < longString {
				m.total += 16
			}
			if m.total > m.stop {
				return
			}
		}
		for _, e := range t.strdict {
			m.value(e)
			if m.total > m.stop {
				return
			}
		}
		for _, e := range t.dict {
			m.value(e)
			if m.total > m.stop {
				return
			}
		}
	case *lua.LFunction:
		m.total += functionBytes + int64(len(v.Upvalues))*upvalueBytes
		if v.Proto != nil && m.first(unsafe.Pointer(v.Proto)) {
			m.total += protoBytes(v.Proto)
		}
		for _, u := range v.Upvalues {
			if u != nil {
				m.value(u.Value())
			}
		}
	}
}
