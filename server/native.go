package server

import (
	"bytes"
	"errors"
	"strconv"
	"sync"

	"crema/resp"
	"crema/server/script"
	"crema/store"
)

// native is what is done in the place of Lua for every script of one shape: the
// same commands on the same Tx, counted and shown as redis.call's are, and the
// same answer. It touches declared keys alone, so it holds their shards and not
// a latch on all.
//
// It has no errors. What Lua would stumble over is Lua's: suits tells and, where
// that takes a look at the store, the program, before it has changed anything.
type native struct {
	lua     string                      // a script of the shape
	argv    int                         // arguments that it looks at
	number  int                         // which of ARGV must be a number, 0: none
	program func(*nativeRun) resp.Reply // resp.None: it is Lua's
}

// nativeScript is a script that has a native, with the words of its literals:
// clients see in MONITOR how it spells its commands.
type nativeScript struct {
	*native
	words [][]byte
	rows  []*command // of the words that name a command, nil for the others
}

// Beyond these a script is left to Lua, and to its limits.
const (
	maxNativeKeys   = 64
	maxNativeBytes  = 64 << 10 // of all words that the client sent
	maxNativeNumber = 1 << 40  // of milliseconds or seconds
)

// nativesByShape is never changed.
var nativesByShape = func() map[string]*native {
	all := make(map[string]*native, len(natives))
	for i := range natives {
		shape, _ := script.Shape([]byte(natives[i].lua))
		all[shape] = &natives[i]
	}
	return all
}()

// recognise is asked about every script that is new.
func (t *table) recognise(source []byte) any {
	shape, words := script.Shape(source)
	n := nativesByShape[shape]
	if n == nil {
		return nil
	}
	s := &nativeScript{native: n}
	for _, w := range words {
		word := []byte(w)
		row, _, _ := t.lookup([][]byte{word})
		s.words, s.rows = append(s.words, word), append(s.rows, row)
	}
	return s
}

// suits tells whether nothing can go wrong.
func (s *nativeScript) suits(c *conn, keys, argv [][]byte) bool {
	if len(keys) == 0 || len(keys) > maxNativeKeys || len(argv) < s.argv {
		return false
	}
	if s.number > 0 {
		n, ok := resp.ParseInt(argv[s.number-1])
		if !ok || n < 1 || n > maxNativeNumber {
			return false
		}
	}
	size := 0
	for _, w := range keys {
		size += len(w)
	}
	for _, w := range argv {
		size += len(w)
	}
	if size > maxNativeBytes || c.full || c.open && c.tx.PendingBytes()+c.deferredBytes > c.srv.maxTx.Load()/2 {
		return false
	}
	u := c.user.Load()
	for _, row := range s.rows {
		if row != nil && u != nil && !u.may(row) {
			return false
		}
	}
	return true
}

// nativeRun is one run of a native.
type nativeRun struct {
	c          *conn
	s          *nativeScript
	keys, argv [][]byte
	buf        [8][]byte // the words of the command that runs
	args       resp.Args
}

var nativeRuns = sync.Pool{New: func() any { return new(nativeRun) }}

// callNative evaluates a script, in a Tx of its own or in EXEC's. Without a reply
// it is Lua's.
func (c *conn) callNative(s *nativeScript, keys, argv [][]byte) resp.Reply {
	if c.open {
		return c.runNative(s, keys, argv)
	}
	return c.runAlone(c.nativeScope(keys), keys, true, func() (reply resp.Reply, err error) {
		if reply = c.runNative(s, keys, argv); reply.Kind == resp.KindNone {
			err = errLua
		}
		return reply, err
	})
}

var errLua = errors.New("not for a native")

// runNative evaluates a script in the open Tx.
func (c *conn) runNative(s *nativeScript, keys, argv [][]byte) resp.Reply {
	n := nativeRuns.Get().(*nativeRun)
	n.c, n.s, n.keys, n.argv = c, s, keys, argv
	c.inScript = true
	c.clock.tick()
	r := s.program(n)
	c.inScript = false
	*n = nativeRun{}
	nativeRuns.Put(n)
	return r
}

// call is redis.call, of the command that the literal i names.
func (n *nativeRun) call(i int, rest ...[]byte) resp.Reply {
	c, row := n.c, n.s.rows[i]
	words := append(append(n.buf[:0], n.s.words[i]), rest...)
	n.args = resp.NewArgs(row.name, words, 1)
	began := c.clock.now
	r := c.evaluate(row, &n.args)
	if r.IsError() {
		panic("native script: " + row.name + ": " + string(r.Bytes))
	}
	c.clock.tick()
	c.srv.observe(c, row, words, c.clock.now-began, false)
	return r
}

// get is redis.call of GET, and tells whether it answers the first argument.
func (n *nativeRun) get(i int, key []byte) (mine, exists bool) {
	r := n.call(i, key)
	exists = !r.IsNil()
	return exists && bytes.Equal(r.Bytes, n.argv[0]), exists
}

// nativeScope covers the declared keys.
func (c *conn) nativeScope(keys [][]byte) store.Scope {
	scope := store.Scope{PinAll: true, NoTouch: c.noTouch.Load(), Ahead: c.srv.cluster != nil}
	for _, key := range keys {
		scope.Shards |= c.srv.store.ShardOf(key)
	}
	return scope
}

// maxNativeLeft is so little that Lua's numbers hold all up to it, and those more
// that suits allows, and that a deadline may be as far away in seconds.
const maxNativeLeft = 1 << 52

// later is what remains of a key's time, maxNativeLeft at most, and the second
// argument, as Lua adds them up.
func (n *nativeRun) later(left int64) []byte {
	more, _ := resp.ParseInt(n.argv[1])
	return strconv.AppendInt(nil, left+more, 10)
}
