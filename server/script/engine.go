package script

import (
	"bytes"
	"container/list"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
)

// Engine keeps compiled scripts and warm interpreters. It may be used from any
// goroutine; scripts that run at the same time have interpreters of their own.
type Engine struct {
	limits Limits

	added func(source []byte) // see KeepSources

	mu    sync.Mutex // guards all below
	cache map[string]*script
	order [2]list.List // of *script: what EVAL cached, what SCRIPT LOAD did; the latest used one first
	bytes int64        // of the cached scripts
	idle  []*interp
}

// script is one compiled source.
type script struct {
	sha    string
	source []byte // nil unless sources are kept
	proto  *lua.FunctionProto
	flags  Flags
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
	return &Engine{limits: limits.withDefaults(), cache: make(map[string]*script)}
}

// overhead is what a cached script costs besides its functions: its place in
// the map and in the list, and its name.
const overhead = 384

// Load compiles a script for SCRIPT LOAD. It is forgotten when the cache is
// full of scripts that were used after it and no evaluated one is left: clients
// answer NOSCRIPT with EVAL. The error is the text of the error reply.
func (e *Engine) Load(source []byte) (sha string, err error) { return e.add(source, loaded, false) }

// Prepare is Load for EVAL: these scripts are forgotten before the loaded ones,
// and when they are too many.
func (e *Engine) Prepare(source []byte) (sha string, err error) {
	return e.add(source, evaluated, true)
}

// Learn is Load, or Prepare, of what somebody else has added.
func (e *Engine) Learn(source []byte, wasLoaded bool) (sha string, err error) {
	kind := evaluated
	if wasLoaded {
		kind = loaded
	}
	return e.add(source, kind, false)
}

// KeepSources has sources kept from now on, and added told of every script that
// is new to Prepare. It is called before there are any scripts.
func (e *Engine) KeepSources(added func(source []byte)) { e.added = added }

func (e *Engine) add(source []byte, kind int, tell bool) (string, error) {
	sum := sha1.Sum(source)
	sha := hex.EncodeToString(sum[:])
	if e.touch(sha, kind) != nil {
		return sha, nil
	}
	if len(source) > e.limits.MaxScriptBytes {
		return "", errors.New("ERR script is too large")
	}
	flags, body, err := shebang(source)
	if err != nil {
		return "", err
	}
	proto, err := compile(string(body), sourceName)
	if err != nil {
		return "", errors.New("ERR Error compiling script (new function): " + oneLine(err.Error()))
	}
	s := &script{sha: sha, proto: proto, flags: flags, bytes: overhead + allBytes(proto), kind: kind}
	if e.added != nil {
		s.source = bytes.Clone(source)
		s.bytes += int64(len(source))
	}
	if e.insert(s) && tell && e.added != nil {
		e.added(s.source)
	}
	return sha, nil
}

// sourceName is how errors call a script.
const sourceName = "user_script"

func oneLine(s string) string {
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(strings.TrimRight(s, "\r\n"))
}

// touch finds a script and notes its use. One that EVAL cached and SCRIPT LOAD
// names is a loaded one from then on.
func (e *Engine) touch(sha string, kind int) *script {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.cache[sha]
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
// cache is alone in it.
func (e *Engine) insert(s *script) (fresh bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cache[s.sha] != nil {
		return false // another connection was faster
	}
	evals := &e.order[evaluated]
	if s.kind == evaluated && evals.Len() >= e.limits.MaxEvalScripts {
		e.drop(evals.Back().Value.(*script))
	}
	for len(e.cache) > 0 && e.bytes+s.bytes > e.limits.MaxCacheBytes {
		last := evals.Back()
		if last == nil {
			last = e.order[loaded].Back()
		}
		e.drop(last.Value.(*script))
	}
	s.place = e.order[s.kind].PushFront(s)
	e.cache[s.sha] = s
	e.bytes += s.bytes
	return true
}

func (e *Engine) drop(s *script) {
	e.order[s.kind].Remove(s.place)
	delete(e.cache, s.sha)
	e.bytes -= s.bytes
}

// Exists tells whether a script is cached. The SHA-1 is in lower case.
func (e *Engine) Exists(sha string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cache[sha] != nil
}

// Source is that of a cached script, nil if there is none or sources are not
// kept. The SHA-1 is in lower case.
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
	var all []*script
	e.mu.Lock()
	for kind := range e.order {
		for at := e.order[kind].Back(); at != nil; at = at.Prev() {
			all = append(all, at.Value.(*script))
		}
	}
	e.mu.Unlock()
	for _, s := range all {
		visit(s.source, s.kind == loaded)
	}
}

// Flags are those of a cached script's shebang line.
func (e *Engine) Flags(sha string) Flags {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.cache[sha]; s != nil {
		return s.flags
	}
	return Flags{}
}

// Flush forgets every script.
func (e *Engine) Flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.cache)
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

// borrow takes an interpreter that is warm, or makes one.
func (e *Engine) borrow() *interp {
	e.mu.Lock()
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
