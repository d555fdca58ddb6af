package cluster

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"crema/cluster/peer"
)

// addresses is where the nodes are. Raft knows them by their ids alone, so that
// a node may move: it comes back, dials the others under its own name, and the
// handshake says where it is now. What was heard so is kept in a file, for a
// start at which the flags are old; the file may be lost.
//
// Names are resolved at each dial, by whoever dials.
type addresses struct {
	self string
	path string
	log  *slog.Logger

	mu   sync.Mutex // guards book
	book map[string]*whereabouts

	file  sync.Mutex // guards the file; taken before mu, and held while the disk is waited for
	wrong bool       // the last attempt to write it failed
}

// whereabouts is all that was said of one node.
type whereabouts struct {
	told  peer.Address // by itself, or by a node of its cluster
	flags peer.Address // by the operator: --peers, or Add
	fresh bool         // it has said so itself since we started
	turn  bool         // which of the two is dialled next
}

const (
	addressFile    = "addresses"
	addressLine    = "crema addresses 1\n"
	maxAddressFile = 64 << 10
	maxAddress     = 512 // bytes of host:port
	maxAddresses   = 64  // nodes
)

// openAddresses reads the file. One that cannot be read or believed is as good
// as none.
func openAddresses(path string, cfg *Config, self string) *addresses {
	a := &addresses{self: self, path: path, log: cfg.Log, book: map[string]*whereabouts{}}
	if b, err := readSmall(path, maxAddressFile); err == nil {
		told, err := parseAddresses(b)
		if err != nil {
			cfg.Log.Warn("the file of the nodes' addresses is not used", "file", path, "error", err)
		}
		for _, m := range told {
			a.book[m.ID] = &whereabouts{told: peer.Address{Peer: m.Peer, Client: m.Client}}
		}
	}
	for _, m := range cfg.Peers {
		w := a.book[m.ID]
		if w == nil {
			w = &whereabouts{}
			a.book[m.ID] = w
		}
		w.flags = peer.Address{Peer: m.Peer, Client: m.Client}
		if m.ID == self { // the operator says where we are
			w.told = w.flags
		}
	}
	return a
}

// of is where to find a node, for people and for clients.
func (a *addresses) of(node string) peer.Address {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.book[node]
	switch {
	case w == nil:
		return peer.Address{}
	case w.told.Peer != "":
		return w.told
	}
	return w.flags
}

// dial is where to dial a node. As long as it has not said itself where it is,
// what we remember and what the flags say may each be out of date: they take
// turns.
func (a *addresses) dial(node string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.book[node]
	switch {
	case w == nil:
		return ""
	case w.told.Peer == "":
		return w.flags.Peer
	case w.fresh || w.flags.Peer == "" || w.flags.Peer == w.told.Peer:
		return w.told.Peer
	}
	w.turn = !w.turn
	if w.turn {
		return w.told.Peer
	}
	return w.flags.Peer
}

// heard is called with what a node has said about itself.
func (a *addresses) heard(node string, at peer.Address) { a.note(node, at, true) }

// learn is called with what one node has said about another.
func (a *addresses) learn(members []Member) {
	for _, m := range members {
		a.note(m.ID, peer.Address{Peer: m.Peer, Client: m.Client}, false)
	}
}

func (a *addresses) note(node string, at peer.Address, itself bool) {
	if node == "" || node == a.self || at.Peer == "" || !plain(node) || !plain(at.Peer) || !plain(at.Client) {
		return
	}
	if a.enter(node, at, itself) {
		a.write()
	}
}

// enter is false when nothing has changed.
func (a *addresses) enter(node string, at peer.Address, itself bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.book[node]
	if w == nil {
		if len(a.book) >= maxAddresses {
			return false
		}
		w = &whereabouts{}
		a.book[node] = w
	}
	if !itself && w.told.Peer != "" { // hearsay only where there is nothing better
		return false
	}
	w.fresh = w.fresh || itself
	before := w.told
	if before == at {
		return false
	}
	w.told = at
	if before.Peer != "" {
		a.log.Info("node has moved", "node", node, "from", before.Peer, "to", at.Peer, "clients", at.Client)
	}
	return true
}

// appoint is called with what the operator says of a node. What it says itself
// comes first.
func (a *addresses) appoint(node string, at peer.Address) {
	a.note(node, at, false)
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.book[node]; w != nil && node != a.self {
		w.flags = at
	}
}

// forget drops who is no member any more. The operator may still mean it by the flags.
func (a *addresses) forget(node string) {
	a.mu.Lock()
	if w := a.book[node]; w != nil && node != a.self {
		delete(a.book, node)
		if w.flags.Peer != "" {
			a.book[node] = &whereabouts{flags: w.flags}
		}
	}
	a.mu.Unlock()
	a.write()
}

// all is everybody who is known, in the order of their ids.
func (a *addresses) all() []Member {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Member
	for id, w := range a.book {
		at := w.told
		if at.Peer == "" {
			at = w.flags
		}
		all = append(all, Member{ID: id, Peer: at.Peer, Client: at.Client})
	}
	slices.SortFunc(all, func(x, y Member) int { return strings.Compare(x.ID, y.ID) })
	return all
}

// write replaces the file. That the disk takes nothing is said elsewhere as well.
func (a *addresses) write() {
	a.file.Lock()
	defer a.file.Unlock()
	text := addressLine
	a.mu.Lock()
	for id, w := range a.book {
		if w.told.Peer != "" && id != a.self {
			text += fmt.Sprintf("%s %s %s\n", id, w.told.Peer, w.told.Client)
		}
	}
	a.mu.Unlock()
	err := writeFileSynced(a.path, []byte(text+sumLine(text)))
	if err != nil && !a.wrong {
		a.log.Warn("the nodes' addresses cannot be written", "file", a.path, "error", err)
	}
	a.wrong = err != nil
}

func parseAddresses(b []byte) (members []Member, err error) {
	text, err := checkSum(b)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0]+"\n" != addressLine {
		return nil, fmt.Errorf("%.40q is not its first line", lines[0])
	}
	for _, line := range lines[1:] {
		words := strings.Split(line, " ")
		if len(words) != 3 || len(members) == maxAddresses {
			return nil, fmt.Errorf("line %.80q is not a node and two addresses", line)
		}
		members = append(members, Member{ID: words[0], Peer: words[1], Client: words[2]})
	}
	return members, nil
}

// plain is what a line of the file and of the log can hold.
func plain(s string) bool {
	return len(s) <= maxAddress && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// readSmall reads a file that is not larger than it can be.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes are too many", info.Size())
	}
	return os.ReadFile(path)
}
