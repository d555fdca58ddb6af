package server

import (
	"errors"
	"sync"

	"crema/resp"
	"crema/server/script"
	"crema/store"
)

// scripts runs Lua. A script evaluates in one Tx that latches every shard, so
// it is atomic to every other client and may touch keys it did not declare;
// nothing it did is in the store before it ended, so it can be stopped at any
// time without a trace. The scripts of lock libraries need no Lua (native.go).
type scripts struct {
	engine *script.Engine

	mu      sync.Mutex // guards what follows
	running *brake     // of the script that runs, nil if none does
	closed  bool       // the server is going down: scripts end as they begin
}

func newScripts() *scripts { return &scripts{engine: script.New(script.DefaultLimits)} }

// share has other nodes told of scripts. It is called before there are any.
func (s *scripts) share(tell func(source []byte)) { s.engine.Tell(tell) }

// kill stops the running script; false means that there is none.
func (s *scripts) kill() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return false
	}
	s.running.stop(script.ErrKilled)
	return true
}

// close stops the running script and every later one.
func (s *scripts) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.kill()
}

func scriptRows() []command {
	const run = noScript | skipMonitor | noMandatoryKeys | movableKeys | stale | runsScript | catScripting
	const runRO = noScript | skipMonitor | readonly | noMandatoryKeys | movableKeys | stale | runsScript | catScripting
	return []command{
		{"eval", -3, run, numKeys(2), session(cmdEval)},
		{"evalsha", -3, run, numKeys(2), session(cmdEvalSHA)},
		{"eval_ro", -3, runRO, numKeys(2), session(cmdEvalRO)},
		{"evalsha_ro", -3, runRO, numKeys(2), session(cmdEvalSHARO)},
		{"script", -2, 0, noKeys, container(
			command{"load", 3, noScript | stale | catScripting, noKeys, session(cmdScriptLoad)},
			command{"exists", -3, noScript | catScripting, noKeys, session(cmdScriptExists)},
			command{"flush", -2, noScript | catScripting, noKeys, session(cmdScriptFlush)},
			command{"kill", 2, noScript | allowBusy | catScripting, noKeys, session(cmdScriptKill)},
			command{"help", 2, loading | stale | catScripting, noKeys, session(cmdScriptHelp)},
		)},
	}
}

// EVAL script numkeys [key …] [arg …]
func cmdEval(c *conn, a *resp.Args) resp.Reply { return c.evalSource(a, false) }

// EVAL_RO script numkeys [key …] [arg …]
func cmdEvalRO(c *conn, a *resp.Args) resp.Reply { return c.evalSource(a, true) }

// EVALSHA sha1 numkeys [key …] [arg …]
func cmdEvalSHA(c *conn, a *resp.Args) resp.Reply { return c.evalSHA(a, false) }

// EVALSHA_RO sha1 numkeys [key …] [arg …]
func cmdEvalSHARO(c *conn, a *resp.Args) resp.Reply { return c.evalSHA(a, true) }

func (c *conn) evalSource(a *resp.Args, readOnly bool) resp.Reply {
	source := a.Bytes()
	keys, argv, bad := scriptWords(a)
	if bad.IsError() {
		return bad
	}
	s, err := c.srv.scripts.engine.Prepare(source)
	if err != nil {
		return resp.Error(err.Error())
	}
	return c.runScript(s, source, keys, argv, readOnly)
}

func (c *conn) evalSHA(a *resp.Args, readOnly bool) resp.Reply {
	sha := a.Bytes()
	if len(sha) != shaDigits {
		return resp.ErrNoScript // before numkeys is looked at, as in Redis
	}
	keys, argv, bad := scriptWords(a)
	if bad.IsError() {
		return bad
	}
	s := c.srv.scripts.engine.Find(sha)
	if s == nil {
		return resp.ErrNoScript
	}
	return c.runScript(s, nil, keys, argv, readOnly)
}

// shaDigits is how long a SHA-1 is in hexadecimal.
const shaDigits = 40

// scriptWords splits what follows a script into KEYS and ARGV.
func scriptWords(a *resp.Args) (keys, argv [][]byte, bad resp.Reply) {
	n := a.Int()
	switch {
	case a.Failed():
		return nil, nil, a.Err()
	case n > int64(a.Left()):
		return nil, nil, resp.ErrKeysTooMany
	case n < 0:
		return nil, nil, resp.ErrKeysNegative
	}
	rest := a.Rest()
	return rest[:n], rest[n:], resp.None
}

// runScript evaluates a script, in a Tx of its own or in EXEC's. source is nil if
// only its SHA-1 was given.
func (c *conn) runScript(s *script.Script, source []byte, keys, argv [][]byte, readOnly bool) resp.Reply {
	c.srv.monitors.feed(c, c.args.Words) // now, so that it is shown before the commands inside
	flags := s.Flags
	if readOnly && flags.Declared && !flags.NoWrites {
		return resp.ErrWriteScriptRO
	}
	alone := !c.open
	if alone {
		c.full = !c.hasRoom()
	}
	if c.full && flags.Declared && !flags.AllowOOM && !flags.NoWrites {
		return resp.ErrScriptOOM
	}
	if n, ok := s.Native.(*nativeScript); ok && !readOnly && n.suits(c, keys, argv) {
		if reply := c.callNative(n, keys, argv); reply.Kind != resp.KindNone {
			return reply
		}
	}
	h := &host{c: c, readOnly: readOnly || flags.NoWrites, allowOOM: flags.AllowOOM}
	if !alone {
		reply, err := c.runLua(h, s, source, keys, argv)
		if err != nil {
			c.aborted = reply // EXEC discards everything
		}
		return reply
	}
	scope := store.Scope{
		Shards: store.AllShards, Latch: true, PinAll: true,
		NoTouch: c.noTouch.Load(), Ahead: c.srv.cluster != nil && (!h.readOnly || c.run.last != nil),
	}
	return c.runAlone(scope, keys, !h.readOnly, func() (resp.Reply, error) {
		return c.runLua(h, s, source, keys, argv)
	})
}

// runAlone gives a script a Tx of its own. An error of run is why it was
// stopped, and nothing of it happens.
func (c *conn) runAlone(scope store.Scope, keys [][]byte, writes bool, run func() (resp.Reply, error)) resp.Reply {
	defer c.tx.End()
	for {
		if err := c.begin(scope); err != nil {
			return resp.ErrBusy
		}
		for _, key := range keys {
			c.tx.Look(key)
		}
		if by := c.tx.Blocked(); by != nil && writes { // now, before anything has run
			c.retract(by)
			continue
		}
		c.open = true
		reply, err := run()
		c.open = false
		if err != nil {
			c.tx.Discard()
			c.dropDeferred()
			return reply
		}
		by := c.blocked()
		if by == nil {
			c.commit()
			if c.srv.cluster == nil { // else when the run is settled
				c.announceDeferred()
			}
			return reply
		}
		c.retract(by)
	}
}

// runLua runs a script in the open Tx. The error is why it was stopped, and the
// reply then says so.
func (c *conn) runLua(h *host, s *script.Script, source []byte, keys, argv [][]byte) (resp.Reply, error) {
	db := c.db.Load()
	c.srv.scripts.begin(&h.brake)
	defer c.srv.scripts.end()
	engine := c.srv.scripts.engine
	reply, err := engine.Run(&h.brake, s, keys, argv, h)
	for errors.Is(err, script.ErrNoScript) { // flushed while this waited for its turn
		if source == nil {
			return resp.ErrNoScript, nil
		}
		if s, err = engine.Prepare(source); err != nil {
			return resp.Error(err.Error()), nil
		}
		reply, err = engine.Run(&h.brake, s, keys, argv, h)
	}
	if why := h.brake.Err(); why != nil {
		err = why // also when the script came to an end before it noticed
	}
	c.inScript = false
	c.selectDB(int(db)) // SELECT inside a script ends with it
	if err != nil {
		c.srv.stats.scriptsKilled.Add(1)
		reply = stoppedReply(err, s.SHA)
	}
	return reply, err
}

// stoppedReply is what the client of a stopped script is told.
func stoppedReply(err error, sha string) resp.Reply {
	switch err {
	case script.ErrKilled:
		return resp.ErrScriptKilled(sha)
	case errTooBig:
		return resp.ErrScriptTooBig
	}
	return resp.ErrScriptMemory
}

func (s *scripts) begin(b *brake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = b
	if s.closed {
		b.stop(script.ErrKilled)
	}
}

func (s *scripts) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
}

// SCRIPT LOAD script
func cmdScriptLoad(c *conn, a *resp.Args) resp.Reply {
	source := a.Bytes()
	s, err := c.srv.scripts.engine.Load(source)
	if err != nil {
		return resp.Error(err.Error())
	}
	c.tellPeers(scriptFrame(source, true))
	return resp.BulkString(s.SHA)
}

// SCRIPT EXISTS sha1 [sha1 …]
func cmdScriptExists(c *conn, a *resp.Args) resp.Reply {
	found := make([]resp.Reply, 0, a.Left())
	for _, sha := range a.Rest() {
		found = append(found, oneIf(c.srv.scripts.engine.Exists(resp.Lower(sha))))
	}
	return resp.Array(found...)
}

// SCRIPT FLUSH [ASYNC|SYNC]
func cmdScriptFlush(c *conn, a *resp.Args) resp.Reply {
	if a.More() && !(a.Left() == 1 && (a.Match("ASYNC") || a.Match("SYNC"))) {
		return resp.ErrScriptFlush
	}
	c.srv.scripts.engine.Flush()
	c.tellPeers([]byte{frameFlush})
	return resp.OK
}

// SCRIPT KILL
func cmdScriptKill(c *conn, _ *resp.Args) resp.Reply {
	if c.srv.cluster != nil {
		return c.srv.killShared()
	}
	return c.srv.killHere()
}

// SCRIPT HELP
func cmdScriptHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("SCRIPT",
		"EXISTS <sha1> [<sha1> ...]",
		"    Return information about the existence of the scripts in the script cache.",
		"FLUSH [ASYNC|SYNC]",
		"    Flush the Lua scripts cache. Very dangerous on replicas.",
		"    When called without the optional mode argument, the behavior is determined by the",
		"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
		"    * ASYNC: Asynchronously flush the scripts cache.",
		"    * SYNC: Synchronously flush the scripts cache.",
		"KILL",
		"    Kill the currently executing Lua script.",
		"LOAD <script>",
		"    Load a script into the scripts cache without executing it.",
	)
}
