package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"crema/cluster/peer"
	"crema/cluster/wal"

	"github.com/hashicorp/raft"
)

// When a majority of the nodes is lost for good, no change of the members can be
// committed, that which would leave the lost ones out neither. The operator then
// says who the members are, by a file peers.json in the data directory of a node
// that is left:
//
//	[{"id": "n1", "address": "host:7379"}]
//
// At its next start the node takes everything in its log for committed, makes
// these nodes the configuration, and renames the file to peers.json.done. The
// others are started with empty directories and join.
//
// Caveats. What only the lost nodes had is gone, acknowledged or not: of several
// nodes that are left, take the one with the highest index in its log ("log
// replayed" says it). What none had acknowledged may become true.
//
// The cluster gets a new id by this, computed from the old one and the file. The
// lost nodes, should they come back, are refused: together they would be a
// majority of the cluster as they know it.
const (
	recoverFile    = "peers.json"
	recoverDone    = ".done"
	maxRecoverFile = 64 << 10
)

type recoverServer struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	NonVoter bool   `json:"non_voter"`
}

// mayRecover refuses a peers.json in a directory without data, at once.
func (n *Node) mayRecover() error {
	path := n.dir.file(recoverFile)
	if _, err := os.Stat(path); err == nil && !n.dir.phase().formed() {
		return fmt.Errorf("cluster: %s says who is left of a cluster, and there is no data of it: remove the file", path)
	}
	return nil
}

// recover does as peers.json says, if there is one, before raft is started. It
// can be killed at any point and begins again at the next start:
//
//	meta: recovering, with the new id → log and snapshot → rename → meta: formed
func (n *Node) recover(conf *raft.Config, transport raft.Transport) error {
	path := n.dir.file(recoverFile)
	b, err := readSmall(path, maxRecoverFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && n.dir.phase() == phaseRecovering: // killed after the rename
		return n.dir.form()
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	}
	config, members, err := parseRecover(b, n.dir.meta.node)
	if err != nil {
		return fmt.Errorf("cluster: %s: %w", path, err)
	}
	if n.dir.phase() != phaseRecovering {
		sum := sha256.Sum256(append([]byte(n.dir.cluster()+"\n"), raft.EncodeConfiguration(config)...))
		if err := n.dir.become(phaseRecovering, hex.EncodeToString(sum[:16])); err != nil {
			return err
		}
	}
	last, err := n.log.LastIndex()
	if err != nil {
		return err
	}
	n.cfg.Log.Warn("putting the members of peers.json in the place of those in the log",
		"members", strings.Join(voters(config), ","), "cluster", n.dir.cluster(), "entries", last)
	if err := raft.RecoverCluster(conf, recoverFSM{n.fsm}, n.log, n.log, n.snaps, transport, config); err != nil {
		if cause := n.fsm.err(); cause != nil {
			err = cause
		}
		return fmt.Errorf("recover the cluster: %w", err)
	}
	if n.book != nil {
		for _, m := range members {
			n.book.heard(m.ID, peer.Address{Peer: m.Peer, Client: n.book.of(m.ID).Client})
		}
	}
	if err := os.Rename(path, path+recoverDone); err != nil {
		return fmt.Errorf("put %s aside: %w", path, err)
	}
	if err := wal.SyncDir(n.dir.path); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	return n.dir.form()
}

// parseRecover wants at least this node among those who vote.
func parseRecover(b []byte, self string) (config raft.Configuration, members []Member, err error) {
	var all []recoverServer
	if err := json.Unmarshal(b, &all); err != nil {
		return config, nil, err
	}
	if len(all) > maxMembers {
		return config, nil, fmt.Errorf("%d nodes are more than %d", len(all), maxMembers)
	}
	seen := map[string]bool{}
	here := false
	for _, s := range all {
		switch {
		case s.ID == "" || !plain(s.ID) || !plain(s.Address):
			return config, nil, fmt.Errorf("%.40q at %.40q is no node", s.ID, s.Address)
		case seen[s.ID]:
			return config, nil, fmt.Errorf("node %s is there twice", s.ID)
		}
		seen[s.ID] = true
		server := raft.Server{ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.ID)}
		if s.NonVoter {
			server.Suffrage = raft.Nonvoter
		} else if s.ID == self {
			here = true
		}
		config.Servers = append(config.Servers, server)
		members = append(members, Member{ID: s.ID, Peer: s.Address})
	}
	if !here {
		return config, nil, fmt.Errorf("it does not name this node, %s, as one that votes", self)
	}
	return config, members, nil
}

// recoverFSM lets go of its snapshot when it is written: RecoverCluster does not
// ask it to.
type recoverFSM struct{ *fsm }

func (f recoverFSM) Snapshot() (raft.FSMSnapshot, error) {
	s, err := f.fsm.Snapshot()
	if err != nil {
		return nil, err
	}
	return recoverSnapshot{s}, nil
}

type recoverSnapshot struct{ raft.FSMSnapshot }

func (s recoverSnapshot) Persist(sink raft.SnapshotSink) error {
	defer s.Release()
	return s.FSMSnapshot.Persist(sink)
}
