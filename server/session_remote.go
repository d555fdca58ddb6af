package server

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"crema/resp"
	"crema/store"
)

// WATCH where another node leads: the watching happens there, in a session that
// the connection names by a number of its own. EXEC takes the session with it. A
// session that is lost, like a leader that is not the same any more, makes EXEC
// answer as if a watched key had changed.

// sessions is what other nodes' clients watch here.
type sessions struct {
	mu     sync.Mutex // guards what follows; taken before shard locks
	byNode map[string]map[uint64]*farSession
	bytes  map[string]int64 // by node: about what their sessions cost
}

type farSession struct {
	watch store.Watch
	term  uint64
	bytes int64
}

const (
	maxSessionBytes  = 256 << 20 // of one node's sessions
	sessionOverhead  = 256
	watchKeyOverhead = 128
)

func newSessions() *sessions {
	return &sessions{byNode: map[string]map[uint64]*farSession{}, bytes: map[string]int64{}}
}

// farWatch is where a connection's watched keys are watched.
type farWatch struct {
	term uint64 // here, in that term of ours; 0: at node
	node string
	id   uint64 // of the session at node
	lost bool   // there is no one place: EXEC will do nothing
}

// watchShared is WATCH in a cluster.
func (c *conn) watchShared(keys [][]byte) resp.Reply {
	var held hold
	since := c.clock.base.Add(c.clock.now)
	for {
		term, node := c.srv.cluster.Lead()
		switch f := &c.far; {
		case !c.watching && term != 0:
			*f = farWatch{term: term}
		case !c.watching:
			*f = farWatch{node: node, id: rand.Uint64() | 1}
		case f.term != term || f.node != node && term == 0:
			f.lost = true
		}
		if c.far.lost {
			return resp.OK
		}
		if term != 0 {
			c.watchHere(keys)
			return resp.OK
		}
		if node != "" {
			if r, answered := c.watchThere(node, keys); answered {
				return r
			}
		}
		if !c.holdOn(&held, since, term, node) {
			return resp.ErrClusterDown
		}
	}
}

// watchThere asks the leader to watch keys; false means that it may be asked
// again. To be asked twice does no harm.
func (c *conn) watchThere(node string, keys [][]byte) (resp.Reply, bool) {
	request := c.head(requestWatch, node, 2*binary.MaxVarintLen64+commandRoom(keys))
	request = binary.AppendUvarint(request, c.far.id)
	request = binary.AppendUvarint(request, uint64(c.watched.Load()))
	request = appendCommand(request, keys)
	c.watching = true // from here on there may be a session to end
	answer, err := c.srv.cluster.Call(node, request)
	switch {
	case err != nil || len(answer) == 0 || answer[0] == answerNothing:
		if c.watched.Load() == 0 {
			c.unwatch()
		}
		return resp.None, false
	case answer[0] == answerTooLarge:
		c.far.lost = true
		return errWatchedTooMuch, true
	case answer[0] == answerLost:
		c.far.lost = true
	}
	c.watched.Add(int32(len(keys)))
	return resp.OK, true
}

var errWatchedTooMuch = resp.Error("ERR too many keys are watched through this node")

// unwatchFar ends the session on the leader, if there may be one.
func (c *conn) unwatchFar() {
	if c.far.id != 0 {
		c.srv.cluster.Post(c.far.node, binary.AppendUvarint([]byte{frameUnwatch}, c.far.id))
	}
	c.far = farWatch{}
}

// answerWatch answers requestWatch.
func (s *Server) answerWatch(node string, request []byte) []byte {
	in := wire{b: request}
	in.byte()
	in.byte()
	db, me := in.number(), in.word()
	id, known := in.number(), in.number()
	keys := in.command(nil)
	if in.bad || db >= store.NumDBs {
		return notLeading
	}
	term := s.awaitLead(string(me))
	if term == 0 {
		return notLeading
	}
	return []byte{s.sessions.watch(s.store, node, id, term, known > 0, int(db), keys)}
}

// watch adds keys to a session and returns the first byte of an answer. more
// says that the session has keys already: it cannot begin anew.
func (ss *sessions) watch(st *store.Store, node string, id, term uint64, more bool, db int, keys [][]byte) byte {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.byNode[node] == nil {
		ss.byNode[node] = map[uint64]*farSession{}
	}
	w := ss.byNode[node][id]
	if w == nil && more || w != nil && w.term != term {
		return answerLost
	}
	cost := int64(0)
	if w == nil {
		cost = sessionOverhead
	}
	for _, key := range keys {
		cost += watchKeyOverhead + int64(len(key))
	}
	if ss.bytes[node]+cost > maxSessionBytes {
		return answerTooLarge
	}
	if w == nil {
		w = &farSession{term: term}
		ss.byNode[node][id] = w
	}
	ss.bytes[node] += cost
	w.bytes += cost
	for _, key := range keys {
		st.Watch(&w.watch, db, key)
	}
	return answerDone
}

// take hands a session over, nil if it is lost: to whoever executes, and has to
// Unwatch.
func (ss *sessions) take(st *store.Store, node string, id, term uint64) *farSession {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	w := ss.remove(node, id)
	if w != nil && w.term != term {
		st.Unwatch(&w.watch)
		return nil
	}
	return w
}

// remove forgets a session; the caller holds mu.
func (ss *sessions) remove(node string, id uint64) *farSession {
	w := ss.byNode[node][id]
	if w != nil {
		delete(ss.byNode[node], id)
		ss.bytes[node] -= w.bytes
	}
	return w
}

// hearUnwatch is told frameUnwatch.
func (s *Server) hearUnwatch(node string, body []byte) {
	in := wire{b: body}
	id := in.number()
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	if w := s.sessions.remove(node, id); w != nil {
		s.store.Unwatch(&w.watch)
	}
}

// left ends the sessions of a node.
func (ss *sessions) left(st *store.Store, node string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, w := range ss.byNode[node] {
		st.Unwatch(&w.watch)
	}
	delete(ss.byNode, node)
	delete(ss.bytes, node)
}
