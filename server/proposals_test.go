package server_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"crema/server"
	"crema/store"
)

// heldLog is a log that answers when the test says so: a real one answers too
// fast to stand between two commands.
type heldLog struct {
	st *store.Store

	mu       sync.Mutex // guards what follows
	held     bool
	refusing error
	waiting  []*store.Pending
	line     []*store.Pending // being answered
	proposed chan struct{}    // a token for each Pending that is held
}

func (l *heldLog) Propose(p *store.Pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		l.waiting = append(l.waiting, p)
		l.proposed <- struct{}{}
		return
	}
	l.line = append(l.line, p)
	if len(l.line) == 1 {
		go l.drain() // as a log does, on a goroutine of its own and in order
	}
}

func (l *heldLog) drain() {
	for {
		l.mu.Lock()
		p, refusing := l.line[0], l.refusing
		l.mu.Unlock()
		l.answer(p, refusing)
		l.mu.Lock()
		l.line = l.line[1:]
		empty := len(l.line) == 0
		l.mu.Unlock()
		if empty {
			return
		}
	}
}

func (l *heldLog) answer(p *store.Pending, err error) {
	if err != nil {
		l.st.Fail(p, err)
	} else {
		l.st.Commit(p)
	}
}

// hold keeps what is proposed from now on, until release.
func (l *heldLog) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

// refuse is release, and what is proposed from now on gets the same answer.
func (l *heldLog) refuse(err error) {
	l.mu.Lock()
	l.refusing = err
	l.mu.Unlock()
	l.release(err)
}

func (l *heldLog) release(err error) {
	l.mu.Lock()
	waiting := l.waiting
	l.held, l.waiting = false, nil
	l.mu.Unlock()
	for _, p := range waiting {
		l.answer(p, err)
	}
}

func (l *heldLog) WaitRoom()                           {}
func (l *heldLog) Info() [][2]string                   { return nil }
func (l *heldLog) Resign(context.Context)              {}
func (l *heldLog) Close() error                        { return nil }
func (l *heldLog) Lead() (uint64, string)              { return 1, "alone" }
func (l *heldLog) Changed() <-chan struct{}            { return nil }
func (l *heldLog) Verify(uint64, bool) error           { return nil }
func (l *heldLog) Replicas(uint64) int                 { return 0 }
func (l *heldLog) Call(string, []byte) ([]byte, error) { return nil, store.ErrNotLogged }
func (l *heldLog) Post(string, []byte) bool            { return false }

func withHeldLog(t *testing.T) (addr string, l *heldLog) {
	t.Helper()
	l = &heldLog{proposed: make(chan struct{}, 100)}
	open := func(st *store.Store, _ server.Peer, _ *slog.Logger) (server.Cluster, error) {
		l.st = st
		return l, nil
	}
	return serving(t, server.Config{OpenLog: open}).Addr(), l
}

// pipeline sends commands in one write.
func (c *client) pipeline(commands ...string) {
	c.send([]byte(strings.Join(commands, "\r\n") + "\r\n"))
}

func (c *client) hears(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := c.read().text(); got != w {
			t.Fatalf("heard %s, not %s", got, w)
		}
	}
}

func TestNoReplyBeforeTheLogAnswers(t *testing.T) {
	addr, l := withHeldLog(t)
	c, other := connect(t, addr), connect(t, addr)
	l.hold()
	c.pipeline("SET k 1", "SET page x EX 100", "GET page", "INCR n")
	<-l.proposed // SET k
	<-l.proposed // INCR n
	other.wants(t, "(nil)", "GET", "k")
	c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if b, err := c.br.Peek(1); err == nil {
		t.Fatalf("answered %q before the log", b)
	}
	l.release(nil)
	c.hears(t, "OK", "OK", `"x"`, "(integer) 1")
	other.wants(t, `"1"`, "GET", "k")
}

// What waits for the log is little, whatever a few words write.
func TestLargeEffectsEndARun(t *testing.T) {
	addr, l := withHeldLog(t)
	c := connect(t, addr)
	l.hold()
	c.pipeline("SETRANGE k 2000000 x", "SETRANGE k 2000000 y")
	<-l.proposed
	select {
	case <-l.proposed:
		t.Error("two megabytes wait, and two more are written")
	case <-time.After(50 * time.Millisecond):
	}
	l.release(nil)
	c.hears(t, "(integer) 2000001", "(integer) 2000001")
}

// What has certainly not happened is done again, in its order, as long as nothing
// behind it has happened.
func TestRefusedProposalsAreTriedAgain(t *testing.T) {
	addr, l := withHeldLog(t)
	c := connect(t, addr)
	l.hold()
	c.pipeline("SET k 1", "GET none", "GET k", "APPEND k 2", "PING")
	<-l.proposed // SET k
	<-l.proposed // GET k, which rests on it
	<-l.proposed // APPEND k
	l.release(store.ErrNotLogged)
	c.hears(t, "OK", "(nil)", `"1"`, "(integer) 2", "PONG")
	c.wants(t, `"12"`, "GET", "k")
}

// A message behind what is tried again is the one that was sent.
func TestPublishBehindARefusedProposal(t *testing.T) {
	addr, l := withHeldLog(t)
	c, listener := connect(t, addr), connect(t, addr)
	listener.send(encodeCommand([]string{"SUBSCRIBE", "steps"}))
	listener.read()
	l.hold()
	c.pipeline("SET k 1", "PUBLISH steps one")
	<-l.proposed
	l.release(store.ErrNotLogged)
	c.hears(t, "OK", "(integer) 1")
	if got := listener.read().text(); !strings.Contains(got, `"one"`) {
		t.Errorf("heard %s", got)
	}
}

// Each command of a run gets its own verdict, and nothing has happened.
func TestRefusedProposals(t *testing.T) {
	addr, l := withHeldLog(t)
	c := connect(t, addr)
	l.hold()
	c.pipeline("SET k 1", "GET none", "SET j 2", "PING")
	<-l.proposed
	<-l.proposed
	l.refuse(store.ErrNotLogged)
	const down = "(error) CLUSTERDOWN The change did not reach the log, nothing has happened"
	c.hears(t, down, "(nil)", down, "PONG")
	c.wants(t, "(integer) 0", "EXISTS", "k", "j")
	l.refuse(nil)
	l.hold()
	c.pipeline("SET k 1")
	<-l.proposed
	l.release(errInDoubt{})
	c.hears(t, "(error) INDOUBT The change may have happened or not")
}

type errInDoubt struct{}

func (errInDoubt) Error() string { return "nobody knows" }

// A client that is thrown out has no reply left to mend.
func TestRefusedProposalOfAClientThrownOut(t *testing.T) {
	addr, l := withHeldLog(t)
	c, other := connect(t, addr), connect(t, addr)
	l.hold()
	c.pipeline("SET a b", "POST / HTTP/1.1")
	<-l.proposed
	l.release(store.ErrNotLogged)
	if got := c.rest(t); got != "" {
		t.Errorf("answered %q", got)
	}
	other.wants(t, "PONG", "PING")
}

// A watched key whose change is on its way makes EXEC wait, and fail.
func TestWatchSeesWhatIsOnItsWay(t *testing.T) {
	addr, l := withHeldLog(t)
	a, b, m := connect(t, addr), connect(t, addr), connect(t, addr)
	b.wants(t, "OK", "WATCH", "k")
	m.wants(t, "OK", "MONITOR")
	l.hold()
	a.pipeline("SET k 2")
	<-l.proposed
	b.pipeline("MULTI", "UNWATCH", "SET k 100", "EXEC")
	awaitCommand(t, addr, "exec", 1)
	l.release(nil)
	b.hears(t, "OK", "QUEUED", "QUEUED", "(nil array)")
	a.hears(t, "OK")
	a.wants(t, `"2"`, "GET", "k")
	for shown := 0; ; {
		line := m.read().text()
		if strings.Contains(line, `"k" "100"`) { // ports and times have digits too
			shown++
		}
		if strings.Contains(strings.ToUpper(line), `"GET" "K"`) {
			if shown > 0 {
				t.Errorf("MONITOR showed a SET that did not happen %d times", shown)
			}
			break
		}
	}
}

// In one pipeline, a script that publishes is heard after the SET before it is there.
func TestScriptPublishesAfterTheRunBeforeIt(t *testing.T) {
	addr, l := withHeldLog(t)
	a, sub := connect(t, addr), connect(t, addr)
	sub.do("SUBSCRIBE", "changed")
	l.hold()
	a.pipeline("SET k 2", `EVAL "return redis.call('PUBLISH', 'changed', 'k')" 0`)
	<-l.proposed
	awaitCommand(t, addr, "eval", 1)
	sub.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if b, err := sub.br.Peek(1); err == nil {
		t.Fatalf("heard %q before the SET was there", b)
	}
	l.release(nil)
	sub.hears(t, "1) \"message\"\n2) \"changed\"\n3) \"k\"")
	a.hears(t, "OK", "(integer) 1")
}
