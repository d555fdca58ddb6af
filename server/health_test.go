package server

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crema/resp"
)

type operated = Members // as a field's name it would hide the method

// asksLeader is a node that follows, and counts what it asks the leader.
type asksLeader struct {
	Cluster
	operated
	asked  atomic.Int64
	answer chan resp.Reply
}

func (a *asksLeader) Lead() (uint64, string) { return 0, "n2" }
func (a *asksLeader) Info() [][2]string      { return [][2]string{{"raft_node_id", "n1"}} }
func (a *asksLeader) Call(string, []byte) ([]byte, error) {
	a.asked.Add(1)
	return resp.Append(nil, <-a.answer, 3), nil
}

// However many ask whether a node is ready, the leader is asked once for all.
func TestReadyIsAskedOnce(t *testing.T) {
	leader := &asksLeader{answer: make(chan resp.Reply)}
	s := &Server{cluster: leader, stop: make(chan struct{})}
	began := time.Now()
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if got := s.unready(); got != "CLUSTERDOWN gone" {
				t.Errorf("not ready because of %q", got)
			}
		})
	}
	told := make(chan struct{})
	go func() {
		for {
			select {
			case leader.answer <- resp.Error("CLUSTERDOWN gone"):
			case <-told:
				return
			}
		}
	}()
	wait.Wait()
	close(told)
	if asked, most := leader.asked.Load(), 1+int64(time.Since(began)/readyFor); asked > most {
		t.Errorf("the leader was asked %d times", asked)
	}
	close(s.stop)
	if got := s.unready(); got != "the server is shutting down" {
		t.Errorf("while it ends: %q", got)
	}
}
