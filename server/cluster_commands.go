package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"crema/resp"
	"crema/store"
)

// Members is what an operator may ask of the nodes, and of this one's log. A
// Cluster may be one; CREMA is refused on one that is not.
type Members interface {
	// Members is every node, as this one knows them.
	Members() []Member
	// These change who belongs to the cluster, and in what role. They want the
	// leader; where it is another node, nothing has happened and the error wraps
	// store.ErrNotLogged. at is host:port, or host:port@host:port with where clients connect.
	Add(ctx context.Context, id, at string) error
	Remove(ctx context.Context, id string) error
	Promote(ctx context.Context, id string) error
	Transfer(ctx context.Context, id string) error // "" = to whom has most of the log
	// Restore puts a snapshot of size bytes in the place of everything, on every node. It wants the leader.
	Restore(ctx context.Context, from io.Reader, size int64) error
	// Snapshot has this node write a snapshot and cut its log.
	Snapshot() error
	// StateDigest is of this node's pinned state at an index, in the words of a snapshot.
	StateDigest() (index uint64, sum [32]byte, bytes int64, err error)
	WriteState(w io.Writer) (index uint64, err error)
	// Scratch is an empty file beside the data, gone when it is closed.
	Scratch() (*os.File, error)
}

// Member is one node. The type has no name of its own, so that a cluster need not
// know this package.
type Member = struct {
	ID           string
	Peer, Client string // host:port
	Voter        bool   // false: a learner, which gets the log and has no say
	Leader       bool
	Linked       bool   // reachable from the node that tells
	Match        uint64 // the last entry that the node is known to have; 0 where only the leader knows it
	Lag          uint64 // committed entries that it has not
}

func cremaRows() []command {
	const (
		inspect = noScript | loading | stale | noMulti
		change  = inspect | admin
		chunk   = change | skipMonitor | skipSlowlog
	)
	return []command{{"crema", -2, 0, noKeys, container(
		command{"status", 2, change, noKeys, session(cmdCremaStatus)},
		command{"health", 2, inspect | fast, noKeys, session(cmdCremaHealth)},
		command{"add", 4, change, noKeys, session(cmdCremaOnLeader)},
		command{"remove", 3, change, noKeys, session(cmdCremaOnLeader)},
		command{"promote", 3, change, noKeys, session(cmdCremaOnLeader)},
		command{"transfer", -2, change, noKeys, session(cmdCremaOnLeader)},
		command{"snapshot", 2, change, noKeys, session(cmdCremaSnapshot)},
		command{"digest", 2, change, noKeys, session(cmdCremaDigest)},
		command{"save", -3, chunk, noKeys, session(cmdCremaOnLeader)},
		command{"load", -4, chunk, noKeys, session(cmdCremaOnLeader)},
		command{"history", -3, inspect | pubsubFlag, noKeys, session(cmdCremaHistory)},
		command{"help", 2, loading | stale, noKeys, session(cmdCremaHelp)},
	)}}
}

// operatorFor is how long one change to the cluster may take. Restore gets longer.
const (
	operatorFor = 30 * time.Second
	restoreFor  = 10 * time.Minute

	operatorPause = 100 * time.Millisecond // between two tries

	// lagAllowed is how many entries a healthy node may be behind: a moment's worth.
	lagAllowed = 4096
)

// CREMA STATUS
func cmdCremaStatus(c *conn, _ *resp.Args) resp.Reply {
	s := c.srv
	m := s.members()
	if m == nil {
		return errNoCluster
	}
	pairs := []resp.Reply{}
	for _, field := range s.cluster.Info() {
		if name, ok := strings.CutPrefix(field[0], "raft_"); ok {
			pairs = append(pairs, bulks(name, field[1])...)
		}
	}
	members, known := s.operateAnywhere(m, wordMembers), "leader"
	if members.IsError() {
		members, known = membersReply(m.Members()), "this node"
	}
	pairs = append(pairs, bulks("members_known_by", known)...)
	return resp.Map(append(pairs, resp.BulkString("members"), members)...)
}

// CREMA HEALTH
//
// OK is for a node that can serve: there is a leader that answers it, and what
// the leader has committed is here.
func cmdCremaHealth(c *conn, _ *resp.Args) resp.Reply { return c.srv.health() }

func (s *Server) health() resp.Reply {
	m := s.members()
	if m == nil {
		return resp.OK
	}
	members := s.operateAnywhere(m, wordMembers)
	if members.IsError() {
		return members
	}
	self := s.nodeID()
	for _, r := range members.Elems {
		member := replyPairs(r)
		if member["id"] != self {
			continue
		}
		if member["match"] == "0" {
			return resp.Error("CLUSTERDOWN The leader has not reached this node yet")
		}
		if lag, _ := strconv.ParseUint(member["lag"], 10, 64); lag > lagAllowed {
			return resp.Error("CLUSTERDOWN This node is " + member["lag"] + " entries behind the leader")
		}
		return resp.OK
	}
	return resp.Error("CLUSTERDOWN This node is no member of the cluster")
}

// CREMA SNAPSHOT
func cmdCremaSnapshot(c *conn, _ *resp.Args) resp.Reply {
	m := c.srv.members()
	if m == nil {
		return errNoCluster
	}
	if err := m.Snapshot(); err != nil {
		return operatorError(err)
	}
	return resp.OK
}

// CREMA DIGEST
//
// Index, SHA-256 and size: nodes with the same index have the same digest.
func cmdCremaDigest(c *conn, _ *resp.Args) resp.Reply {
	m := c.srv.members()
	if m == nil {
		return errNoCluster
	}
	index, sum, size, err := m.StateDigest()
	if err != nil {
		return operatorError(err)
	}
	return resp.Array(resp.Int(int64(index)), resp.BulkString(hex.EncodeToString(sum[:])), resp.Int(size))
}

// CREMA ADD id host:port[@host:port]
// CREMA REMOVE id
// CREMA PROMOTE id
// CREMA TRANSFER [id]
// CREMA SAVE …, CREMA LOAD …
//
// What wants the leader is done there, whichever node was asked.
func cmdCremaOnLeader(c *conn, a *resp.Args) resp.Reply {
	s := c.srv
	m := s.members()
	if m == nil {
		return errNoCluster
	}
	_, before := s.cluster.Lead()
	for until := time.Now().Add(holdFor); ; {
		changed := s.cluster.Changed()
		r := s.operateAnywhere(m, a.Words[1:])
		left := time.Until(until)
		if r.Kind == resp.KindSimple && a.Name == "crema|transfer" {
			s.awaitOther(before)
			return r
		}
		if !bytes.HasPrefix(r.Bytes, []byte("CLUSTERDOWN ")) || left <= 0 {
			return r
		}
		pause := time.NewTimer(min(left, operatorPause))
		select { // nothing has happened: the leader is another one by now, or will be
		case <-changed:
		case <-pause.C:
		case <-c.done:
			return r
		}
		pause.Stop()
	}
}

// awaitOther waits until this node, too, has heard that another one than before
// leads: who asks it next is to be told so.
func (s *Server) awaitOther(before string) {
	enough := time.NewTimer(holdFor)
	defer enough.Stop()
	for {
		changed := s.cluster.Changed()
		if _, leader := s.cluster.Lead(); leader != "" && leader != before {
			return
		}
		select {
		case <-changed:
		case <-enough.C:
			return
		}
	}
}

// operateAnywhere does here what words say if this node leads, else has the
// leader do it.
func (s *Server) operateAnywhere(m Members, words [][]byte) resp.Reply {
	term, leader := s.cluster.Lead()
	if term != 0 {
		return s.operate(m, term, words)
	}
	r, err := s.askLeader(leader, words)
	if err != nil {
		return operatorError(err)
	}
	return r
}

// askLeader has a CREMA command done by another node's server.
func (s *Server) askLeader(leader string, words [][]byte) (resp.Reply, error) {
	if leader == "" {
		return resp.None, errNoLeader
	}
	elems := make([]resp.Reply, len(words))
	for i, w := range words {
		elems[i] = resp.Bulk(w)
	}
	answer, err := s.cluster.Call(leader, resp.Append([]byte{requestCluster}, resp.Array(elems...), 3))
	if err != nil {
		return resp.None, err
	}
	return resp.ReadReply(bufio.NewReader(bytes.NewReader(answer)))
}

// answerOperator is the leader's side of askLeader. The client's rights were
// looked at where the client is.
func (s *Server) answerOperator(request []byte) []byte {
	r, err := resp.ReadReply(bufio.NewReader(bytes.NewReader(request)))
	m := s.members()
	if err != nil || m == nil || len(r.Elems) == 0 {
		return resp.Append(nil, resp.ErrInternal, 3)
	}
	words := make([][]byte, len(r.Elems))
	for i := range r.Elems {
		words[i] = r.Elems[i].Bytes
	}
	term, _ := s.cluster.Lead()
	if term == 0 {
		return resp.Append(nil, operatorError(errNoLeader), 3)
	}
	return resp.Append(nil, s.operate(m, term, words), 3)
}

// operate does on the leader what words say, the subcommand first.
func (s *Server) operate(m Members, term uint64, words [][]byte) resp.Reply {
	what := strings.ToLower(string(words[0]))
	if err := s.cluster.Verify(term, what != "save"); err != nil {
		return operatorError(err)
	}
	a := resp.NewArgs("crema|"+what, words, 1)
	switch what {
	case "members":
		return membersReply(m.Members())
	case "save":
		return s.transfer.save(m, &a)
	case "load":
		return s.transfer.load(m, &a)
	}
	ctx, cancel := context.WithTimeout(context.Background(), operatorFor)
	defer cancel()
	id := a.Text()
	var err error
	switch {
	case what == "add":
		at := a.Text()
		for part := range strings.SplitSeq(at, "@") {
			if !isHostPort(part) {
				return resp.Error("ERR an address is HOST:PORT, or HOST:PORT@HOST:PORT with where clients connect")
			}
		}
		err = m.Add(ctx, id, at)
	case what == "remove":
		err = m.Remove(ctx, id)
	case what == "promote":
		err = m.Promote(ctx, id)
	case what == "transfer" && !a.More():
		err = m.Transfer(ctx, id)
	default:
		return a.WrongArity()
	}
	if err != nil {
		return operatorError(err)
	}
	s.log.Info("the cluster was changed by an operator", "command", what, "node", id)
	return resp.OK
}

// wordMembers has the leader tell who belongs to the cluster: it alone knows how
// far each is. Linked is as seen from there.
var wordMembers = [][]byte{[]byte("members")}

func membersReply(members []Member) resp.Reply {
	list := make([]resp.Reply, len(members))
	for i, m := range members {
		role := "learner"
		if m.Voter {
			role = "voter"
		}
		yesNo := map[bool]string{true: "yes", false: "no"}
		list[i] = resp.Map(append(
			bulks("id", m.ID, "peer", m.Peer, "client", m.Client, "role", role, "leader", yesNo[m.Leader], "linked", yesNo[m.Linked]),
			resp.BulkString("match"), resp.Int(int64(m.Match)), resp.BulkString("lag"), resp.Int(int64(m.Lag)),
		)...)
	}
	return resp.Array(list...)
}

// replyPairs is a map of texts and numbers as texts.
func replyPairs(r resp.Reply) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(r.Elems); i += 2 {
		value := r.Elems[i+1]
		text := string(value.Bytes)
		if value.Kind == resp.KindInt {
			text = strconv.FormatInt(value.Int, 10)
		}
		m[string(r.Elems[i].Bytes)] = text
	}
	return m
}

// members is the cluster's operator side, nil if there is none.
func (s *Server) members() Members {
	m, _ := s.cluster.(Members)
	return m
}

// nodeID is this node's name.
func (s *Server) nodeID() string {
	for _, field := range s.cluster.Info() {
		if field[0] == "raft_node_id" {
			return field[1]
		}
	}
	return ""
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, bad := strconv.Atoi(port)
	return err == nil && bad == nil && host != "" && n > 0 && n <= 65535
}

var errNoLeader = errors.New("no leader is known")

// operatorError tells an operator what went wrong, in one line.
func operatorError(err error) resp.Reply {
	text := strings.NewReplacer("\r", " ", "\n", " ").Replace(err.Error())
	if errors.Is(err, errNoLeader) || errors.Is(err, store.ErrNotLogged) {
		return resp.Error("CLUSTERDOWN " + text)
	}
	return resp.Error("ERR " + text)
}

// CREMA HELP
func cmdCremaHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("CREMA",
		"STATUS",
		"    Tell how this node is, and who the cluster's members are.",
		"HEALTH",
		"    Answer OK if this node can serve: a leader answers it, and it is not far behind.",
		"ADD <id> <host:port[@host:port]>",
		"    Let a node belong to the cluster; it votes when it has caught up.",
		"REMOVE <id>",
		"    Let a node belong to the cluster no more.",
		"PROMOTE <id>",
		"    Let a learner vote now.",
		"TRANSFER [<id>]",
		"    Make another node the leader.",
		"SNAPSHOT",
		"    Have this node take a snapshot and cut its log.",
		"DIGEST",
		"    Tell index, SHA-256 and size of this node's pinned keys.",
		"SAVE BEGIN | READ <transfer> <offset> | END <transfer>",
		"    Take a copy of all pinned keys away, in chunks.",
		"LOAD BEGIN <bytes> <sha256> | WRITE <transfer> <offset> <chunk> | APPLY <transfer> | END <transfer>",
		"    Put a copy in the place of all keys, on every node.",
		"HISTORY <channel> [AFTER <id>] [COUNT <count>]",
		"    Show the latest messages of a channel that has a history.")
}
