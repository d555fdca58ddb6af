package cluster

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// transport is raft's network transport over the streams of the port. It notes
// what others answer (lease.go), holds to what we promised (promise.go), and keeps
// who should not lead from trying. Addresses are node ids.
type transport struct {
	*raft.NetworkTransport
	n     *Node
	self  raft.ServerAddress
	raft  atomic.Pointer[raft.Raft] // nil while it starts
	calls chan raft.RPC             // that pass, for raft's main loop
	done  chan struct{}             // closed by Close
	once  sync.Once

	heard   atomic.Pointer[hearing]
	heardAt atomic.Int64 // when it was heard last, ns as in lease

	mu    sync.Mutex
	up    map[raft.ServerID]chan struct{} // closed, and removed, when a node answers a heartbeat
	woken string                          // who asked us to take over: for the log

	wokenIn uint64 // the latest term whose leader asked us to take over
}

// hearing is which leader was heard.
type hearing struct {
	leader string
	term   uint64
}

const (
	maxMessageBytes = 8 << 20 // of entries in one message, or a single one

	maxWaiting = 8 // calls waiting for raft's main loop, which a disk may hold up

	// Before a node that has refused entries, or was not there, gets them again:
	// there may be many megabytes of them.
	retryPause    = 50 * time.Millisecond
	maxRetryPause = time.Second
)

var (
	errBusy    = errors.New("raft is busy")
	errLeading = errors.New("this node leads")
	errUnfit   = errors.New("this node should not lead now")
	errStale   = errors.New("it was to take over in another term")
	errStopped = errors.New("transport closed")
)

func newTransport(n *Node) *transport {
	t := &transport{
		n: n, self: raft.ServerAddress(n.dir.meta.node), up: map[raft.ServerID]chan struct{}{},
		calls: make(chan raft.RPC), done: make(chan struct{}),
	}
	t.heard.Store(&hearing{})
	t.NetworkTransport = raft.NewNetworkTransport(streamLayer{n.port.RaftStream()}, 3, 0, raftLines{n.cfg.Log})
	go t.pass() // Close ends it
	return t
}

// run passes calls on to raft, which is there now.
func (t *transport) run(r *raft.Raft) { t.raft.Store(r) }

// stop ends what waits for an answer.
func (t *transport) stop() { t.once.Do(func() { close(t.done) }) }

func (t *transport) Close() error {
	t.stop()
	return t.NetworkTransport.Close()
}

func (t *transport) Consumer() <-chan raft.RPC     { return t.calls }
func (t *transport) LocalAddr() raft.ServerAddress { return t.self }

// EncodePeer leaves a server's address what it is: its id.
func (t *transport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// AppendEntriesPipeline: one entry is under way at a time, so there is nothing to
// overlap.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func isHeartbeat(args *raft.AppendEntriesRequest) bool {
	return args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
}

// AppendEntries does not fail where raft would wait for ever longer before it
// tries again, up to ten seconds: a node that is back could be missed by then.
// What cannot be sent waits for the node to answer a heartbeat.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if isHeartbeat(args) {
		err := t.append(id, target, args, resp)
		if err == nil {
			t.isUp(id)
		}
		return err
	}
	args.Entries = firstOf(args.Entries)
	for pause := retryPause; ; pause = min(2*pause, maxRetryPause) {
		up := t.untilUp(id)
		err := t.append(id, target, args, resp)
		if err == nil {
			if !resp.Success && resp.Term <= args.Term && !resp.NoRetryBackoff {
				t.pause(retryPause)
				resp.NoRetryBackoff = true
			}
			return nil
		}
		select {
		case <-up:
			t.pause(pause)
		case <-time.After(heartbeatTimeout):
		case <-t.done:
			return err
		}
		if !t.sendsTo(id, args.Term) {
			return err
		}
	}
}

func (t *transport) append(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.n.isolated.Load() {
		return errUnfit
	}
	// Another leader may have cut our log between two of the entries here. It has
	// not where our term is still that in which they were gathered.
	if r := t.raft.Load(); r != nil && r.CurrentTerm() != args.Term {
		return errUnfit
	}
	args.LeaderCommitIndex = t.n.log.flusher.onDisk(args.LeaderCommitIndex)
	sent := t.n.lease.now()
	if err := t.NetworkTransport.AppendEntries(id, target, args, resp); err != nil {
		return err
	}
	if resp.Success && resp.Term == args.Term {
		matched := uint64(0)
		if !isHeartbeat(args) {
			matched = args.PrevLogEntry + uint64(len(args.Entries))
		}
		t.n.lease.answered(id, args.Term, sent, matched)
	}
	return nil
}

// firstOf is as many entries as one message should carry. Raft sees that there
// are less, and sends the others next.
func firstOf(entries []*raft.Log) []*raft.Log {
	bytes := 0
	for i, e := range entries {
		if bytes += len(e.Data); i > 0 && bytes > maxMessageBytes {
			return entries[:i]
		}
	}
	return entries
}

// beat is a heartbeat of our own, as raft sends it.
func (t *transport) beat(id raft.ServerID, term uint64) {
	args := raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(t.self), Addr: []byte(t.self)},
		Term:      term,
	}
	t.append(id, raft.ServerAddress(id), &args, new(raft.AppendEntriesResponse))
}

// sendsTo says whether a message of term to a node still has a point.
func (t *transport) sendsTo(id raft.ServerID, term uint64) bool {
	r := t.raft.Load()
	if r == nil || r.CurrentTerm() != term || r.State() != raft.Leader {
		return false
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.ID == id {
			return true
		}
	}
	return false
}

func (t *transport) untilUp(id raft.ServerID) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.up[id] == nil {
		t.up[id] = make(chan struct{})
	}
	return t.up[id]
}

func (t *transport) isUp(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.up[id]; c != nil {
		close(c)
		delete(t.up, id)
	}
}

func (t *transport) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.done:
	}
}

// InstallSnapshot waits for the node to be there, for the same reason.
func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	for up := false; !up && t.sendsTo(id, args.Term); {
		select {
		case <-t.untilUp(id):
			up = true
		case <-time.After(heartbeatTimeout):
		case <-t.done:
			return errStopped
		}
	}
	t.n.cfg.Log.Info("sending a snapshot", "node", string(id), "bytes", args.Size)
	return t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
}

func (t *transport) matched(id string) uint64 { return t.n.lease.matched(raft.ServerID(id)) }

// RequestPreVote and RequestVote are how this node tries to lead.

func (t *transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := t.mayTry(false); err != nil {
		return err
	}
	return t.NetworkTransport.RequestPreVote(id, target, args, resp)
}

func (t *transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	t.mu.Lock()
	stale := args.LeadershipTransfer && args.Term != t.wokenIn+1 // raft may remember it for longer
	t.mu.Unlock()
	if stale {
		return errStale
	}
	if err := t.mayTry(args.LeadershipTransfer); err != nil {
		return err
	}
	return t.NetworkTransport.RequestVote(id, target, args, resp)
}

// TimeoutNow asks a node to take over, from the leader of this term, whose lease
// ends here. Raft names no term.
func (t *transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	term := leadingTerm(t.n.raft.Load())
	if term == 0 {
		return errUnfit
	}
	t.n.lease.give(term)
	named := *args
	named.Addr = []byte(termName(term))
	return t.NetworkTransport.TimeoutNow(id, target, &named, resp)
}

func termName(term uint64) string { return "term " + strconv.FormatUint(term, 10) }

func (t *transport) mayTry(transfer bool) error {
	if err := t.n.unfit(); err != nil {
		return err
	}
	if !t.n.mayVote() { // for itself either
		return errUnfit
	}
	if transfer {
		return nil
	}
	return t.n.promise.free()
}

// SetHeartbeatHandler puts us before raft, which answers heartbeats beside its
// main loop.
func (t *transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(call raft.RPC) {
		defer t.n.promise.answer()()
		args := call.Command.(*raft.AppendEntriesRequest)
		if err := t.hear(args.Term, args.RPCHeader); err != nil {
			call.Respond(nil, err)
			return
		}
		handle(call)
	})
}

// hear notes a leader's message, before raft sees it.
func (t *transport) hear(term uint64, from raft.RPCHeader) error {
	r := t.raft.Load()
	if r == nil {
		return errBusy
	}
	now := r.CurrentTerm()
	if term < now {
		return nil // raft will tell it
	}
	if err := t.n.promise.hear(term); err != nil {
		return err
	}
	t.heardAt.Store(t.n.lease.now())
	if h := t.heard.Load(); h.term != term || h.leader != string(from.ID) {
		if h.term <= term {
			t.heard.Store(&hearing{string(from.ID), term})
			token(t.n.gate.wake)
		}
	}
	if term > now && (t.n.disk.failure() != nil || t.n.disk.hangs(hungAfter)) {
		return errUnfit // raft would wait for the disk to take the new term, each time anew
	}
	return nil
}

// pass hands calls to raft's main loop. It never has more than a few at hand:
// what a caller has given up would pile up while a disk hangs.
func (t *transport) pass() {
	var waiting []raft.RPC
	var head raft.RPC
	var to chan raft.RPC // nil while there is no head
	for {
		if to == nil && len(waiting) > 0 {
			call := waiting[0]
			waiting = waiting[1:]
			if passed, err := t.admit(call); err != nil {
				refuse(call, err)
			} else {
				head, to = passed, t.calls
			}
			continue
		}
		select {
		case call := <-t.NetworkTransport.Consumer():
			waiting = queueCall(waiting, call)
		case to <- head:
			head, to = raft.RPC{}, nil
		case <-t.done:
			return
		}
	}
}

// queueCall adds a call. Of two that carry entries the first was given up.
func queueCall(waiting []raft.RPC, call raft.RPC) []raft.RPC {
	if _, ok := call.Command.(*raft.AppendEntriesRequest); ok {
		for i := range waiting {
			if _, ok := waiting[i].Command.(*raft.AppendEntriesRequest); ok {
				refuse(waiting[i], errBusy)
				waiting[i] = call
				return waiting
			}
		}
	}
	if len(waiting) == maxWaiting {
		refuse(call, errBusy)
		return waiting
	}
	return append(waiting, call)
}

// refuse answers with an error. What follows a call in its stream has to be read
// all the same; the connection ends that.
func refuse(call raft.RPC, err error) {
	if call.Reader == nil {
		call.Respond(nil, err)
		return
	}
	go func() {
		io.Copy(io.Discard, call.Reader)
		call.Respond(nil, err)
	}()
}

// admit looks at a call before raft may.
func (t *transport) admit(call raft.RPC) (raft.RPC, error) {
	n := t.n
	if t.raft.Load() == nil {
		return call, errBusy
	}
	switch call.Command.(type) {
	case *raft.AppendEntriesRequest, *raft.InstallSnapshotRequest:
		if !n.log.flusher.idle() {
			return call, errBusy
		}
	}
	switch args := call.Command.(type) {
	case *raft.AppendEntriesRequest:
		// Raft would take all that is committed elsewhere for what it has itself.
		// Its log may go on, behind what this message shows to be the same, with
		// entries that no other node has: a leader steps back message by message
		// while a disk that is full does not let them be dropped.
		args.LeaderCommitIndex = min(args.LeaderCommitIndex, args.PrevLogEntry+uint64(len(args.Entries)))
		return call, t.hear(args.Term, args.RPCHeader)
	case *raft.InstallSnapshotRequest:
		n.cfg.Log.Info("receiving a snapshot", "node", string(args.RPCHeader.ID), "bytes", args.Size)
		return call, t.hear(args.Term, args.RPCHeader)
	case *raft.TimeoutNowRequest:
		if err := n.unfit(); err != nil {
			return call, err
		}
		// It may have been on its way for long. The leader of now has not given its
		// lease up for it.
		term := n.currentTerm()
		if string(args.Addr) != termName(term) {
			return call, errStale
		}
		t.mu.Lock()
		t.woken, t.wokenIn = string(args.RPCHeader.ID), term
		t.mu.Unlock()
	case *raft.RequestPreVoteRequest:
		if err := t.mayVote(false); err != nil {
			return call, err
		}
		return call, n.promise.free()
	case *raft.RequestVoteRequest:
		if err := t.mayVote(args.LeadershipTransfer); err != nil {
			return call, err
		}
		decided, err := n.promise.vote(args.Term, args.LeadershipTransfer)
		if err != nil {
			return call, err
		}
		answer, to := make(chan raft.RPCResponse, 1), call.RespChan
		call.RespChan = answer
		go func() {
			select {
			case a := <-answer:
				decided()
				to <- a
			case <-t.done:
			}
		}()
	}
	return call, nil
}

// mayVote is about votes for others.
func (t *transport) mayVote(transfer bool) error {
	n := t.n
	switch term, _ := n.Lead(); {
	case term != 0 && !transfer:
		return errLeading // raft may know better, but what we answer rests on it
	case !n.mayVote() || n.disk.failure() != nil:
		return errUnfit
	}
	return nil
}
