package server

import (
	"encoding/binary"
	"time"

	"crema/resp"
)

// What all nodes know, though it is not in the log: scripts, and those settings
// that concern the keys. Every node tells the others what it learns; who was away
// is told the scripts when it is back, and nothing of the settings.

// tellPeers tells the others, before the client has its answer. Inside EXEC, where
// others wait for what it holds, it does not wait for them.
func (c *conn) tellPeers(frame []byte) {
	if c.open {
		c.srv.peers.post(frame)
	} else {
		c.srv.peers.tell(frame)
	}
}

// tellScript is called when EVAL has a script that is new to this node.
func (s *Server) tellScript(source []byte) {
	if len(s.peers.all()) > 0 {
		s.peers.post(scriptFrame(source, false))
	}
}

func scriptFrame(source []byte, loaded bool) []byte {
	kept := byte(0)
	if loaded {
		kept = 1
	}
	b := make([]byte, 0, 2+len(source))
	return append(append(b, frameScript, kept), source...)
}

// tellScripts tells a node every script.
func (s *Server) tellScripts(node string) {
	s.scripts.engine.Each(func(source []byte, loaded bool) {
		s.cluster.Post(node, scriptFrame(source, loaded))
	})
}

// hearScript is told frameScript. One that does not compile is no script.
func (s *Server) hearScript(body []byte) {
	if len(body) > 0 {
		s.scripts.engine.Learn(body[1:], body[0] != 0)
	}
}

// tellConfig tells the others of the settings that concern the keys, of those
// that CONFIG SET has changed.
func (c *conn) tellConfig(named []*param, words [][]byte) {
	frame := []byte{frameConfig}
	for i, p := range named {
		if p.agreed() {
			frame = appendWord(appendWord(frame, p.name), words[2*i+1])
		}
	}
	if len(frame) > 1 {
		c.tellPeers(frame)
	}
}

// agreed tells whether all nodes should have the same value.
func (p *param) agreed() bool {
	switch p.name {
	case "maxmemory", "maxmemory-policy", "notify-keyspace-events", "proto-max-bulk-len", "busy-reply-threshold", "lua-time-limit":
		return true
	}
	return false
}

// hearConfig is told frameConfig.
func (s *Server) hearConfig(node string, body []byte) {
	in := wire{b: body}
	for len(in.b) > 0 {
		name, value := in.word(), in.word()
		p := paramNamed(name)
		if in.bad || p == nil || !p.agreed() {
			return
		}
		trial := *s.settings()
		if p.set(&trial, string(value)) != "" {
			return
		}
		s.change(func(set *settings) { p.set(set, string(value)) })
		s.log.Info("parameter changed", "name", p.name, "by", "node "+node)
	}
}

// killShared is SCRIPT KILL: scripts run where the leader is.
func (s *Server) killShared() resp.Reply {
	term, node := s.cluster.Lead()
	if term != 0 || node == "" {
		return s.killHere()
	}
	answer, err := s.cluster.Call(node, []byte{requestKill})
	switch {
	case err != nil:
		return resp.ErrClusterDown
	case len(answer) > 0 && answer[0] == 1:
		return resp.OK
	}
	return resp.ErrNotBusy
}

func (s *Server) killHere() resp.Reply {
	if !s.scripts.kill() {
		return resp.ErrNotBusy
	}
	return resp.OK
}

// answerKill answers requestKill: 1 if a script was stopped.
func (s *Server) answerKill() []byte {
	if s.scripts.kill() {
		return []byte{1}
	}
	return []byte{0}
}

const waitStep = time.Millisecond // before the second look at how far the others are

// waitShared is WAIT: how many other nodes have what this connection wrote last,
// as soon as it is that many or the time is up; 0 is no limit of time. What no
// other node will ever have, cached entries, nobody waits for.
func (c *conn) waitShared(wanted int64, timeout time.Duration) resp.Reply {
	if c.lastIndex == 0 {
		return resp.Zero
	}
	if c.open { // inside EXEC nothing waits
		wanted = 0
	}
	s := c.srv
	until := time.Now().Add(timeout)
	for pause := waitStep; ; pause = min(2*pause, lastPause) {
		changed := s.cluster.Changed()
		n, known := s.replicas(c.lastIndex)
		left := time.Until(until)
		if known && int64(n) >= wanted || timeout > 0 && left <= 0 || c.killed.Load() || s.draining.Load() || c.open || c.gone() {
			return resp.Int(int64(n))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-changed:
		case <-c.done:
		}
		timer.Stop()
	}
}

// replicas asks the leader how many nodes beside it have the log up to index.
func (s *Server) replicas(index uint64) (n int, known bool) {
	term, node := s.cluster.Lead()
	if term != 0 {
		return s.cluster.Replicas(index), true
	}
	if node == "" {
		return 0, false
	}
	answer, err := s.cluster.Call(node, binary.AppendUvarint([]byte{requestWait}, index))
	in := wire{b: answer}
	if err != nil || in.byte() != answerDone {
		return 0, false
	}
	n = int(in.number())
	return n, !in.bad
}

// answerWait answers requestWait.
func (s *Server) answerWait(request []byte) []byte {
	in := wire{b: request}
	index := in.number()
	if term, _ := s.cluster.Lead(); term == 0 || in.bad {
		return notLeading
	}
	return binary.AppendUvarint([]byte{answerDone}, uint64(max(s.cluster.Replicas(index), 0)))
}
