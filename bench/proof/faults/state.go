//go:build linux

package faults

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"crema/bench/proof/world"
)

const askTimeout = 400 * time.Millisecond

// State is what a node says of itself.
type State struct {
	Role    string // leader, follower, candidate
	Leader  string
	Term    int64
	Applied int64
}

// ask opens a connection, asks and closes it: a node may have been replaced by
// another process since the last time.
func ask(address string, timeout time.Duration, question func(context.Context, *redis.Client) error) error {
	client := redis.NewClient(&redis.Options{Addr: address, PoolSize: 1, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	return question(ctx, client)
}

// Ask reads INFO raft.
func Ask(node *world.Node) (State, error) {
	var s State
	err := ask(node.Address, askTimeout, func(ctx context.Context, client *redis.Client) error {
		text, err := client.Info(ctx, "raft").Result()
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch name {
			case "raft_state":
				s.Role = value
			case "raft_leader":
				s.Leader = value
			case "raft_term":
				s.Term, _ = strconv.ParseInt(value, 10, 64)
			case "raft_applied_index":
				s.Applied, _ = strconv.ParseInt(value, 10, 64)
			}
		}
		return err
	})
	if err == nil && s.Role == "" {
		err = fmt.Errorf("INFO raft of %s names no raft_state", node.ID)
	}
	return s, err
}

// Leader is the node that calls itself leader in the highest term, nil for none.
func Leader(w *world.World) *world.Node {
	states := make([]State, len(w.Nodes))
	var all sync.WaitGroup
	for i, node := range w.Nodes {
		all.Go(func() { states[i], _ = Ask(node) }) // who does not answer is not called leader
	}
	all.Wait()
	var leader *world.Node
	term := int64(-1)
	for i, s := range states {
		if s.Role == "leader" && s.Term > term {
			leader, term = w.Nodes[i], s.Term
		}
	}
	return leader
}

// Digest asks for the index and the hash of a node's pinned state.
func Digest(node *world.Node) (index int64, hash string, err error) {
	err = ask(node.Address, 10*time.Second, func(ctx context.Context, client *redis.Client) error {
		reply, err := client.Do(ctx, "CREMA", "DIGEST").Slice()
		if err != nil {
			return err
		}
		if len(reply) < 2 {
			return fmt.Errorf("CREMA DIGEST answered %v", reply)
		}
		index, _ = reply[0].(int64)
		hash = fmt.Sprint(reply[1])
		return nil
	})
	return index, hash, err
}

// Transfer asks the cluster to change its leader.
func Transfer(node *world.Node) error {
	return ask(node.Address, 3*time.Second, func(ctx context.Context, client *redis.Client) error {
		return client.Do(ctx, "CREMA", "TRANSFER").Err()
	})
}
