package server

import (
	"sync/atomic"

	"crema/resp"
)

// NativeScripts are a script of each shape that has a native.
func NativeScripts() (all []string) {
	for i := range natives {
		all = append(all, natives[i].lua)
	}
	return all
}

// Recognises tells whether a script has a native, and which.
func Recognises(source string) (lua string, ok bool) {
	s, ok := newTable(allRows()...).recognise([]byte(source)).(*nativeScript)
	if !ok {
		return "", false
	}
	return s.lua, true
}

// OnlyLua has every script run in Lua. It is called before there are any.
func (s *Server) OnlyLua() {
	s.scripts.engine.Recognise(func([]byte) any { return nil })
}

// CountNatives counts the runs of natives, by their script. It is called before
// there are any scripts.
func (s *Server) CountNatives() map[string]*atomic.Int64 {
	runs := map[string]*atomic.Int64{}
	for i := range natives {
		runs[natives[i].lua] = new(atomic.Int64)
	}
	s.scripts.engine.Recognise(func(source []byte) any {
		n, ok := s.table.recognise(source).(*nativeScript)
		if !ok {
			return nil
		}
		counted := *n.native
		counted.program = func(r *nativeRun) resp.Reply {
			runs[counted.lua].Add(1)
			return n.program(r)
		}
		return &nativeScript{native: &counted, words: n.words, rows: n.rows}
	})
	return runs
}
