package script

import (
	"container/list"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

// Engine keeps compiled scripts and warm interpreters. It may be used from any
// goroutine; scripts that run at the same time have interpreters of their own.
type Engine struct {
	limits Limits

	added  func(source []byte)     // see Tell
	native func(source []byte) any // see Recognise

	mu    sync.Mutex         // guards all below
	cache map[string]*Script // by SHA-1
	texts map[string]*Script // the same ones by their source
	order [2]list.List       // of *Script: what EVAL cached, what SCRIPT LOAD did; the latest used one first
	bytes int64              // of the cached scripts
	idle  []*interp
}

// Script is one compiled source.
type Script struct {
	SHA    string
	Flags  Flags
	Native any // what Recognise made of its source

	source []byte // nobody writes to it
	proto  *lua.FunctionProto
	bytes  int64
	kind   int           // which of Engine.order it is in
	place  *list.Element // in that list
}

const (
	evaluated = iota
	loaded
)

// New makes an engine.
func New(limits Limits) *Engine {
	return &Engine{limits: limits.withDefaults(), cache: make(map[string]*Script), texts: make(map[string]*Script)}
}

// overhead is what a cached script costs besides its functions and its source:
// its places in the maps and in the list, and its name.
const overhead = 448

// Load compiles a script for SCRIPT LOAD. It is forgotten when the cache is
// full of scripts that were used after it and no evaluated one is left: clients
// answer NOSCRIPT with EVAL. The error is the text of the error reply.
func (e *Engine) Load(source []byte) (*Script, error) { return e.add(source, loaded, false) }

// Prepare is Load for EVAL: these scripts are forgotten before the loaded ones,
// and when they are too many.
func (e *Engine) Prepare(source []byte) (*Script, error) {
	e.mu.Lock()
	s := e.use(e.texts[string(source)], evaluated) // no SHA-1 of what is known
	e.mu.Unlock()
	if s != nil {
		return s, nil
	}
	return e.add(source, evaluated, true)
}

// Learn is Load, or Prepare, of what somebody else has added.
func (e *Engine) Learn(source []byte, wasLoaded bool) (*Script, error) {
	kind := evaluated
	if wasLoaded {
		kind = loaded
	}
	return e.add(source, kind, false)
}

// Tell has added told of every script that is new to Prepare. It is called before
// there are any scripts.
func (e *Engine) Tell(added func(source []byte)) { e.added = added }

// Recognise has native asked about every source that is new and compiles; what it
// says is the script's Native. It is called before there are any scripts.
func (e *Engine) Recognise(native func(source []byte) any) {
	e.mu.Lock() // as touch does, before native is looked at
	defer e.mu.Unlock()
	e.native = native
}

func (e *Engine) add(source []byte, kind int, tell bool) (*Script, error) {
	sum := sha1.Sum(source)
	sha := hex.EncodeToString(sum[:])
	if s := e.touch(sha, kind); s != nil {
		return s, nil
	}
	if len(source) > e.limits.MaxScriptBytes {
		return nil, errors.New("ERR script is too large")
	}
	flags, body, err := shebang(source)
	if err != nil {
		return nil, err
	}
	proto, err := compile(string(body), sourceName)
	if err != nil {
		return nil, errors.New("ERR Error compiling script (new function): " + oneLine(err.Error()))
	}
	s := &Script{SHA: sha, proto: proto, Flags: flags, source: append([]byte{}, source...), kind: kind}
	s.bytes = overhead + allBytes(proto) + int64(len(source))
	if e.native != nil {
		s.Native = e.native(s.source)
	}
	now, fresh := e.insert(s)
	if fresh && tell && e.added != nil {
		e.added(s.source)
	}
	return now, nil
}

// text is the source as a key of Engine.texts.
func (s *Script) text() string { return unsafe.String(unsafe.SliceData(s.source), len(s.source)) }

// sourceName is how errors call a script.
const sourceName = "user_script"

func oneLine(s string) string {
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(strings.TrimRight(s, "\r\n"))
}

// touch finds a script and notes its use. One that EVAL cached and SCRIPT LOAD
// names is a loaded one from then on.
func (e *Engine) touch(sha string, kind int) *Script {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.use(e.cache[sha], kind)
}

func (e *Engine) use(s *Script, kind int) *Script {
	switch {
	case s == nil:
		return nil
	case kind > s.kind:
		e.order[s.kind].Remove(s.place)
		s.kind, s.place = kind, e.order[kind].PushFront(s)
	default:
		e.order[s.kind].MoveToFront(s.place)
	}
	return s
}

// insert caches a script, and makes room for it: a script larger than the whole
// cache is alone in it. It returns the one that is cached now.
func (e *Engine) insert(s *Script) (now *Script, fresh bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if was := e.cache[s.SHA]; was != nil {
		return was, false // another connection was faster
	}
	evals := &e.order[evaluated]
	if s.kind == evaluated && evals.Len() >= e.limits.MaxEvalScripts {
		e.drop(evals.Back().Value.(*Script))
	}
	for len(e.cache) > 0 && e.bytes+s.bytes > e.limits.MaxCacheBytes {
		last := evals.Back()
		if last == nil {
			last = e.order[loaded].Back()
		}
		e.drop(last.Value.(*Script))
	}
	s.place = e.order[s.kind].PushFront(s)
	e.cache[s.SHA] = s
	e.texts[s.text()] = s
	e.bytes += s.bytes
	return s, true
}

func (e *Engine) drop(s *Script) {
	e.order[s.kind].Remove(s.place)
	delete(e.cache, s.SHA)
	delete(e.texts, s.text())
	e.bytes -= s.bytes
}

// Find is the cached script of a SHA-1, whatever its case, or nil.
func (e *Engine) Find(sha []byte) *Script {
	var lower [2 * sha1.Size]byte
	if len(sha) != len(lower) {
		return nil
	}
	for i, c := range sha {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.use(e.cache[string(lower[:])], evaluated)
}

// Exists tells whether a script is cached. The SHA-1 is in lower case.
func (e *Engine) Exists(sha string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cache[sha] != nil
}

// Source is that of a cached script, nil if there is none. The SHA-1 is in lower
// case.
func (e *Engine) Source(sha string) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.cache[sha]; s != nil {
		return s.source
	}
	return nil
}

// Each visits the sources, those first that would be forgotten first.
func (e *Engine) Each(visit func(source []byte, loaded bool)) {
	var all []*Script
	e.mu.Lock()
	for kind := range e.order {
		for at := e.order[kind].Back(); at != nil; at = at.Prev() {
			all = append(all, at.Value.(*Script))
		}
	}
	e.mu.Unlock()
	for _, s := range all {
		visit(s.source, s.kind == loaded)
	}
}

// Flush forgets every script.
func (e *Engine) Flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.cache)
	clear(e.texts)
	e.order[evaluated].Init()
	e.order[loaded].Init()
	e.bytes = 0
	e.idle = nil
}

// Len counts the cached scripts.
func (e *Engine) Len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.cache)
}

// MemoryUsage is the bytes of the cached scripts.
func (e *Engine) MemoryUsage() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bytes
}

// borrow takes an interpreter that is warm, or makes one. There is none for a
// script that is cached no more.
func (e *Engine) borrow(s *Script) *interp {
	e.mu.Lock()
	if e.cache[s.SHA] == nil {
		e.mu.Unlock()
		return nil
	}
	if n := len(e.idle); n > 0 {
		in := e.idle[n-1]
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		return in
	}
	e.mu.Unlock()
	return newInterp(e.limits)
}

func (e *Engine) giveBack(in *interp) {
	if !in.finish() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.idle) < e.limits.MaxIdle {
		e.idle = append(e.idle, in)
	}
}
