package script

import (
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

	mu    sync.Mutex // guards all below
	cache map[string]*script
	order *list.List // of *script that EVAL cached, the latest used one first
	bytes int64      // of the cached sources
	idle  []*interp
}

// script is one compiled source.
type script struct {
	sha   string
	proto *lua.FunctionProto
	flags Flags
	bytes int64
	place *list.Element // in Engine.order; nil for one that SCRIPT LOAD keeps
}

// New makes an engine.
func New(limits Limits) *Engine {
	return &Engine{limits: limits.withDefaults(), cache: make(map[string]*script), order: list.New()}
}

// overhead is what a cached script costs besides its source, which stays in
// no other form than the compiled one.
const overhead = 4 << 10

var errCacheFull = errors.New("ERR the script cache is full, use SCRIPT FLUSH")

// Load compiles a script and keeps it until Flush. The error is the text of
// the error reply.
func (e *Engine) Load(source []byte) (sha string, err error) { return e.add(source, true) }

// Prepare is Load for EVAL: the script may be forgotten once many others were
// used after it.
func (e *Engine) Prepare(source []byte) (sha string, err error) { return e.add(source, false) }

func (e *Engine) add(source []byte, keep bool) (string, error) {
	sum := sha1.Sum(source)
	sha := hex.EncodeToString(sum[:])
	if e.touch(sha, keep) != nil {
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
	s := &script{sha: sha, proto: proto, flags: flags, bytes: int64(len(source)) + overhead}
	return sha, e.insert(s, keep)
}

// sourceName is how errors call a script.
const sourceName = "user_script"

func oneLine(s string) string {
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(strings.TrimRight(s, "\r\n"))
}

// touch finds a script and notes its use.
func (e *Engine) touch(sha string, keep bool) *script {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.cache[sha]
	if s != nil && s.place != nil {
		if keep {
			e.order.Remove(s.place)
			s.place = nil
		} else {
			e.order.MoveToFront(s.place)
		}
	}
	return s
}

func (e *Engine) insert(s *script, keep bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cache[s.sha] != nil {
		return nil // another connection was faster
	}
	for e.order.Len() > 0 && (e.order.Len() >= e.limits.MaxEvalScripts || e.bytes+s.bytes > e.limits.MaxCacheBytes) {
		e.drop(e.order.Back().Value.(*script))
	}
	if e.bytes+s.bytes > e.limits.MaxCacheBytes {
		return errCacheFull
	}
	if !keep {
		s.place = e.order.PushFront(s)
	}
	e.cache[s.sha] = s
	e.bytes += s.bytes
	return nil
}

func (e *Engine) drop(s *script) {
	e.order.Remove(s.place)
	delete(e.cache, s.sha)
	e.bytes -= s.bytes
}

// Exists tells whether a script is cached. The SHA-1 is in lower case.
func (e *Engine) Exists(sha string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cache[sha] != nil
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
	e.order.Init()
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
