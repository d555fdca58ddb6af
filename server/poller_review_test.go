//go:build linux

package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crema/resp"
	"crema/store"
)

// polledServer is a server of one poller, which ends with the test. It is
// prepared before anybody is served.
func polledServer(t testing.TB, cfg Config, prepare ...func(*Server)) *Server {
	t.Helper()
	was := runtime.GOMAXPROCS(2)
	s, err := New(cfg)
	runtime.GOMAXPROCS(was)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range prepare {
		f(s)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		<-served
	})
	return s
}

// talker is the client's end of a connection, and c the server's.
type talker struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
	c  *conn
}

const talkFor = time.Minute

func talkTo(t testing.TB, s *Server) *talker {
	t.Helper()
	sock, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close() })
	sock.SetDeadline(time.Now().Add(talkFor))
	w := &talker{Conn: sock, t: t, br: bufio.NewReader(sock)}
	w.say("CLIENT ID")
	w.c = s.clients.id(w.read().Int)
	return w
}

func (w *talker) say(lines ...string) {
	w.t.Helper()
	if _, err := io.WriteString(w, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		w.t.Error(err)
	}
}

func (w *talker) read() resp.Reply {
	w.t.Helper()
	r, err := resp.ReadReply(w.br)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// ends reads up to the end, which must come.
func (w *talker) ends() {
	w.t.Helper()
	if _, err := io.Copy(io.Discard, w.br); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		w.t.Error("the connection does not end")
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// until waits for what no channel tells.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > talkFor {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (w *talker) wantsRoom() bool {
	p := w.c.polled.poller
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.c.polled.wantRoom
}

const moreThanWindow = 16 << 20 // bytes that a client's window has no room for

// A connection that is closed between the moment when others can see it and that
// when its poller does: its descriptor may be somebody else's by then, who would
// never be served.
func TestClosedBeforeItIsWatched(t *testing.T) {
	s := polledServer(t, Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := func() *conn {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		sock, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return s.newConn(s.poll(sock))
	}
	killed := accepted()
	s.clients.add(killed, 0)
	killed.close()
	if killed.polled.poller.watch(killed) {
		t.Fatal("a closed connection is watched")
	}
	killed.finish()
	if s.clients.count() != 0 {
		t.Error("it is still there")
	}
}

// Of two outboxes of one connection, the one that could not write because the
// other was in the middle of a frame is written when that is over.
func TestOutboxBehindTheOther(t *testing.T) {
	s := polledServer(t, Config{})
	w := talkTo(t, s)
	w.say("HELLO 3")
	w.read()
	w.c.pushRedirected([]byte("+first\r\n"))
	w.read()
	w.say("SUBSCRIBE ch")
	w.read()
	s.pubsub.publish(message{channel: []byte("ch"), payload: bytes.Repeat([]byte("m"), moreThanWindow)})
	until(t, "the message is half written", w.wantsRoom)
	w.say("UNSUBSCRIBE ch")
	until(t, "nobody listens", func() bool { return !w.c.subscribed() })
	w.c.pushRedirected([]byte("+last\r\n"))
	until(t, "the other outbox has tried", w.c.polled.again.Load)
	seen := map[string]bool{}
	for range 3 {
		r := w.read()
		if r.Kind == resp.KindSimple {
			seen[string(r.Bytes)] = true
		} else {
			seen[string(r.Elems[0].Bytes)] = true
		}
	}
	if len(seen) != 3 || !seen["message"] || !seen["unsubscribe"] || !seen["last"] {
		t.Errorf("heard %v", seen)
	}
}

// Who waits for its earlier reply to be written does not wait for the messages
// behind it.
func TestReplyBehindAReplyAndMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		o := newOutbox(ours, func() outboxLimit { return outboxLimit{} }, func() {}, new(atomic.Int64))
		o.start()
		large := make([]byte, largeFrame)
		o.reply(large, func() {})
		o.push(large)
		taken := make(chan bool, 1)
		go func() { taken <- o.reply([]byte("second"), func() {}) }()
		if _, err := io.ReadFull(theirs, large); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case ok := <-taken:
			if !ok {
				t.Error("it was refused")
			}
		default:
			t.Error("it waits for a message")
		}
		theirs.Close()
		o.drain()
	})
}

// A connection that ends may be given an outbox while it does. Nobody but its
// poller could write that, which must not wait for it then.
func TestOutboxMadeWhileTheConnectionEnds(t *testing.T) {
	took := time.Hour
	for range 3 { // who waits does so each time
		took = min(took, outboxWhileEnding(t))
	}
	if took > drainFor*9/10 {
		t.Errorf("took %s", took)
	}
}

func outboxWhileEnding(t *testing.T) time.Duration {
	s := polledServer(t, Config{})
	w, other := talkTo(t, s), talkTo(t, s)
	w.say("WATCH k")
	w.read()
	var tx store.Tx
	if err := tx.Begin(s.store, time.Now().UnixMilli(), 0, store.Scope{Shards: store.AllShards}); err != nil {
		t.Fatal(err)
	}
	w.say("QUIT") // and UNWATCH, which waits for the Tx
	if got := w.read(); string(got.Bytes) != "OK" {
		t.Errorf("QUIT was answered %s", got.Bytes)
	}
	w.c.pushRedirected([]byte("+late\r\n"))
	tx.End()
	began := time.Now()
	if got := w.read(); string(got.Bytes) != "late" {
		t.Errorf("heard %s", got.Bytes)
	}
	w.ends()
	other.say("PING")
	other.read()
	return time.Since(began)
}

// Whoever asks is answered, though outboxes are filled as fast as they are
// written, from outside of the poller.
func TestRequestsBesideMessages(t *testing.T) {
	s := polledServer(t, Config{})
	asks := talkTo(t, s)
	var others sync.WaitGroup
	defer others.Wait()
	stop := make(chan struct{})
	defer close(stop)
	var listeners []*conn
	for range 50 {
		w := talkTo(t, s)
		w.say("SUBSCRIBE ch")
		w.read()
		listeners = append(listeners, w.c)
		others.Go(func() { io.Copy(io.Discard, w.br) })
		defer w.Close()
	}
	frame := []byte("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nm\r\n")
	started := make(chan struct{})
	for k := range 3 {
		others.Go(func() {
			for i := 0; ; i++ {
				if i == 100 && k == 0 {
					close(started)
				}
				for _, c := range listeners {
					if frames, _ := c.outbox.pending(); frames < 8 {
						c.outbox.push(frame)
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	<-started
	for range 20 {
		began := time.Now()
		asks.say("PING")
		asks.read()
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("PING took %s", took)
		}
	}
}

// However many wait for the keys that a script holds, the others are served: not
// after each of those has been found to wait.
func TestOthersAreServedBesideManyWhoWait(t *testing.T) {
	s := polledServer(t, Config{})
	s.change(func(set *settings) { set.busyAfter = time.Hour })
	asks, runs := talkTo(t, s), talkTo(t, s)
	var waiting []*talker
	for range 200 {
		waiting = append(waiting, talkTo(t, s))
	}
	runs.say(`EVAL "while true do end" 0`)
	until(t, "the script runs", func() bool {
		s.scripts.mu.Lock()
		defer s.scripts.mu.Unlock()
		return s.scripts.running != nil
	})
	for _, w := range waiting {
		w.say("GET k")
	}
	began := time.Now()
	asks.say("PING", "SCRIPT KILL")
	asks.read()
	asks.read()
	if took := time.Since(began); took > 100*cronEvery {
		t.Errorf("took %s", took)
	}
	if got := runs.read(); !got.IsError() {
		t.Errorf("the script was answered %s", got.Bytes)
	}
	for _, w := range waiting {
		if got := w.read(); got.Kind != resp.KindNil {
			t.Errorf("GET was answered %s", got.Bytes)
		}
	}
	until(t, "nobody is away", func() bool {
		p := s.pollers[0]
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.away == 0 && s.relieved.Load() == 0
	})
}

// A panic in a pipeline: what was answered before is told, what comes after is
// not done.
func TestPanicInAPipeline(t *testing.T) {
	boom := command{"boom", 2, write, key(1), data(func(tx *store.Tx, a *resp.Args) resp.Reply {
		tx.Put(a.Bytes(), store.Put{Value: []byte("half")})
		panic("as planned")
	})}
	boom.stat = new(commandStat)
	s := polledServer(t, Config{}, func(s *Server) {
		s.table.byName["boom"] = &boom
		s.table.shorten(&boom)
	})
	w := talkTo(t, s)
	w.say("SET before 1", "BOOM k", "SET after 1")
	if got, err := io.ReadAll(w.br); err != nil || string(got) != "+OK\r\n-ERR internal error\r\n" {
		t.Errorf("answered %q, %v", got, err)
	}
	w = talkTo(t, s)
	w.say("MGET before k after")
	for i, want := range []string{"1", "", ""} {
		if got := string(w.read().Elems[i].Bytes); got != want {
			t.Errorf("key %d is %q", i, got)
		}
		if i < 2 {
			w.say("MGET before k after")
		}
	}
}

// Commands of a pipeline that write more than their words are refused one by one
// when memory is short, as if each had come alone.
func TestPipelineThatGrows(t *testing.T) {
	const value = 4 << 20
	s := polledServer(t, Config{MaxMemory: 16 << 20})
	w := talkTo(t, s)
	w.say("SETRANGE large 4194303 x")
	w.read()
	var lines []string
	for i := range 32 {
		lines = append(lines, fmt.Sprintf("COPY large copy%d", i), fmt.Sprintf("GET copy%d:", i))
	}
	w.say(lines...)
	refused := 0
	for i := range lines {
		r := w.read()
		if i%2 == 1 && r.Kind != resp.KindNil {
			t.Errorf("%s was answered %s", lines[i], r.Bytes)
		}
		if r.IsError() {
			refused++
		}
	}
	if used := s.store.UsedBytes(); used > 16<<20+2*value || refused < 26 {
		t.Errorf("%d bytes are used, %d commands were refused", used, refused)
	}
}

// A client that takes long to read is not one that says nothing: the timeout
// begins when it has its answer.
func TestTimeoutBeginsBehindTheAnswer(t *testing.T) {
	s := polledServer(t, Config{})
	s.change(func(set *settings) { set.timeout = time.Hour })
	w := talkTo(t, s)
	w.say(fmt.Sprintf("SETRANGE large %d x", moreThanWindow-1))
	w.read()
	w.say("GET large")
	until(t, "the answer is half written", w.wantsRoom)
	if w.c.lastUsed.Load() != inTurn {
		t.Error("it may be closed in the middle of its answer")
	}
	asked := time.Now().UnixMilli()
	until(t, "time has passed", func() bool { return time.Now().UnixMilli() > asked+1 })
	w.read()
	until(t, "the turn is over", func() bool { return w.c.lastUsed.Load() != inTurn })
	if used := w.c.lastUsed.Load(); used <= asked {
		t.Errorf("last used %d ms before it was answered", asked-used)
	}
}

// An idle connection has no buffer, also after a command that came in two.
func TestIdleConnectionHasNoBuffer(t *testing.T) {
	s := polledServer(t, Config{})
	w := talkTo(t, s)
	io.WriteString(w, "*2\r\n$4\r\nECHO\r\n$20000\r\n"+strings.Repeat("e", 15000))
	until(t, "half of it is there", func() bool { return w.c.inBytes.Load() > 15000 })
	io.WriteString(w, strings.Repeat("e", 5000)+"\r\n")
	if got := w.read(); len(got.Bytes) != 20000 {
		t.Errorf("ECHO was answered with %d bytes", len(got.Bytes))
	}
	until(t, "it is idle", func() bool { return w.c.lastUsed.Load() != inTurn && w.c.inBytes.Load() < 1<<10 })
}

// Frames of another connection's tracking come between replies and never into
// the middle of one.
func TestRedirectedFramesBesideReplies(t *testing.T) {
	s := polledServer(t, Config{})
	w := talkTo(t, s)
	w.say("HELLO 3")
	w.read()
	w.say(fmt.Sprintf("SETRANGE large %d x", 300<<10))
	w.read()
	const asked, told = 100, 2000
	frame := resp.Append(nil, resp.Push(resp.BulkString("invalidate"), resp.Array(resp.BulkString(strings.Repeat("k", 1000)))), 3)
	var others sync.WaitGroup
	others.Go(func() {
		for range told {
			w.c.pushRedirected(frame)
		}
	})
	others.Go(func() {
		for i := range asked {
			w.say("GET large", fmt.Sprintf("ECHO %d", i))
		}
	})
	pushes, large, echoes := 0, 0, 0
	for range 2*asked + told {
		switch r := w.read(); {
		case r.Kind == resp.KindPush:
			pushes++
		case len(r.Bytes) > 300<<10:
			large++
		case string(r.Bytes) == fmt.Sprint(echoes):
			echoes++
		default:
			t.Fatalf("read %.40q behind %d pushes, %d values and %d echoes", r.Bytes, pushes, large, echoes)
		}
	}
	others.Wait()
	if pushes != told || large != asked || echoes != asked {
		t.Errorf("%d pushes, %d values, %d echoes", pushes, large, echoes)
	}
}

// states are what a connection may be in the middle of when it is killed or the
// server ends.
var states = []struct {
	name  string
	begin func(t *testing.T, s *Server) *talker
}{
	{"idle", talkToT},
	{"in MULTI", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("WATCH k", "MULTI", "SET k 1")
		for range 3 {
			w.read()
		}
		return w
	}},
	{"half a command", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		io.WriteString(w, "*2\r\n$4\r\nECHO\r\n$20000\r\n"+strings.Repeat("e", 15000))
		until(t, "it is there", func() bool { return w.c.inBytes.Load() > 15000 })
		return w
	}},
	{"waiting for room", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("GET large")
		until(t, "it waits", w.wantsRoom)
		return w
	}},
	{"waiting in a group", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("GET small", "GET large", "GET large", "GET small")
		until(t, "it waits", w.wantsRoom)
		return w
	}},
	{"waiting for its outbox", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("CLIENT TRACKING ON BCAST", "GET large", "GET large", "GET large")
		w.read()
		until(t, "it waits", w.wantsRoom)
		return w
	}},
	{"subscribed and not reading", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("SUBSCRIBE ch")
		w.read()
		s.pubsub.publish(message{channel: []byte("ch"), payload: make([]byte, moreThanWindow)})
		until(t, "it waits", w.wantsRoom)
		return w
	}},
	{"behind a redirected frame", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("HELLO 3")
		w.read()
		w.c.pushRedirected(resp.Append(nil, resp.Push(resp.Bulk(make([]byte, moreThanWindow))), 3))
		until(t, "it waits", w.wantsRoom)
		w.say("GET small")
		until(t, "the reply waits", func() bool { return w.c.lastUsed.Load() == inTurn })
		return w
	}},
	{"draining", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("SUBSCRIBE ch2")
		w.read()
		s.pubsub.publish(message{channel: []byte("ch2"), payload: make([]byte, moreThanWindow)})
		until(t, "it waits", w.wantsRoom)
		w.say("QUIT")
		until(t, "it drains", func() bool {
			w.c.outbox.mu.Lock()
			defer w.c.outbox.mu.Unlock()
			return w.c.outbox.closed
		})
		return w
	}},
	{"sleeping", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say("DEBUG SLEEP 3000")
		until(t, "it sleeps", func() bool { return w.c.lastUsed.Load() == inTurn })
		return w
	}},
	{"in a script", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		w.say(`EVAL "while true do end" 0`)
		until(t, "it runs", func() bool {
			s.scripts.mu.Lock()
			defer s.scripts.mu.Unlock()
			return s.scripts.running != nil
		})
		return w
	}},
	{"behind a script", func(t *testing.T, s *Server) *talker { // the one before
		w := talkTo(t, s)
		w.say("GET small")
		until(t, "it waits", func() bool { return w.c.lastUsed.Load() == inTurn })
		return w
	}},
	{"paused", func(t *testing.T, s *Server) *talker {
		w := talkTo(t, s)
		s.pause.begin(time.Hour, true)
		w.say("SET k v")
		until(t, "it waits", func() bool { return w.c.lastUsed.Load() == inTurn })
		return w
	}},
}

func talkToT(t *testing.T, s *Server) *talker { return talkTo(t, s) }

// inAllStates has a connection in each.
func inAllStates(t *testing.T, s *Server) (all []*talker) {
	s.change(func(set *settings) { set.debugCommand, set.busyAfter = "yes", time.Hour })
	w := talkTo(t, s)
	w.say(fmt.Sprintf("SETRANGE large %d x", moreThanWindow-1), "SET small s")
	w.read()
	w.read()
	w.say("QUIT")
	w.read()
	w.ends()
	for _, st := range states {
		all = append(all, st.begin(t, s))
	}
	return all
}

// leaves tells whether a poller has no more than so many connections.
func leaves(s *Server, conns int) func() bool {
	return func() bool {
		n := 0
		for _, p := range s.pollers {
			p.mu.Lock()
			n += len(p.conns)
			p.mu.Unlock()
		}
		return n == conns
	}
}

// Who is killed goes, whatever it is in the middle of, and the others are served.
func TestKilledInEveryState(t *testing.T) {
	s := polledServer(t, Config{})
	all := inAllStates(t, s)
	other := talkTo(t, s)
	for _, w := range all {
		w.c.close()
		other.say("PING")
		other.read()
	}
	s.scripts.close() // a script ends by SCRIPT KILL alone
	for _, w := range all {
		w.ends()
	}
	leavesNothing(t, s, 1)
}

// So do those who hang up.
func TestHungUpInEveryState(t *testing.T) {
	s := polledServer(t, Config{})
	all := inAllStates(t, s)
	other := talkTo(t, s)
	for _, w := range all {
		w.Conn.(*net.TCPConn).SetLinger(0)
		w.Close()
		other.say("PING")
		other.read()
	}
	s.scripts.close()
	s.pause.end() // nobody looks whether who waits for these two is still there
	until(t, "only who sleeps is left", func() bool { return s.clients.count() == 2 })
	for _, w := range all {
		w.c.close()
	}
	leavesNothing(t, s, 1)
}

// And those who are there when the server ends.
func TestShutdownInEveryState(t *testing.T) {
	s := polledServer(t, Config{})
	all := inAllStates(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	s.Shutdown(ctx)
	if took := time.Since(began); took > 5*(time.Second+cutGrace) {
		t.Errorf("took %s", took)
	}
	for _, w := range all {
		w.ends()
	}
	leavesNothing(t, s, 0)
}

// leavesNothing waits until all clients but some are gone, with all they had.
func leavesNothing(t *testing.T, s *Server, but int) {
	t.Helper()
	until(t, "they are gone", func() bool { return s.clients.count() == but })
	until(t, "their descriptors are free", leaves(s, but))
}

// Many connections at once, each of which does everything for a while: whoever
// is not killed gets its replies, whole and in order.
func TestEverythingAtOnce(t *testing.T) {
	s := polledServer(t, Config{})
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	setup := talkTo(t, s)
	setup.say("CONFIG SET notify-keyspace-events KEA", fmt.Sprintf("SETRANGE large %d x", 200<<10))
	setup.read()
	setup.read()
	ends := time.Now().Add(time.Second)
	var done sync.WaitGroup
	var killed, finished atomic.Int32
	for i := range 12 {
		done.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
			for time.Now().Before(ends) || finished.Load() == 0 && time.Now().Before(ends.Add(talkFor)) {
				if err := everything(t, s, rnd); err != nil {
					killed.Add(1)
				} else {
					finished.Add(1)
				}
			}
		})
	}
	done.Wait()
	s.pause.end()
	t.Logf("%d connections finished, %d were killed", finished.Load(), killed.Load())
	if finished.Load() == 0 {
		t.Error("nobody was served")
	}
	until(t, "only one is left", func() bool { return s.clients.count() == 1 })
	until(t, "their descriptors are free", leaves(s, 1))
	setup.say("PING")
	setup.read()
}

// everything is one connection's life. An error is its end.
func everything(t *testing.T, s *Server, rnd *rand.Rand) error {
	sock, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return err
	}
	defer sock.Close()
	sock.SetDeadline(time.Now().Add(talkFor))
	br := bufio.NewReader(sock)
	sent, heard := 0, 0
	hear := func(upTo int) error { // the numbers of ECHO, between whatever else
		for heard < upTo {
			r, err := resp.ReadReply(br)
			if isTimeout(err) {
				t.Errorf("no reply: %d of %d", heard, upTo)
			}
			if err != nil {
				return err
			}
			if r.Kind == resp.KindBulk && bytes.HasPrefix(r.Bytes, []byte("echo ")) {
				if string(r.Bytes) != fmt.Sprint("echo ", heard) {
					t.Errorf("echo %d is %q", heard, r.Bytes)
				}
				heard++
			}
		}
		return nil
	}
	said := []string{
		"GET small", "SET small v", "GET large", "INCR n", "MGET small large n", "SET cached v EX 100", "DEL small",
		"PUBLISH ch message", "SUBSCRIBE ch", "UNSUBSCRIBE ch", "PSUBSCRIBE __key*", "PUNSUBSCRIBE", "MULTI", "EXEC", "DISCARD", "WATCH small",
		"CLIENT TRACKING ON BCAST", "CLIENT TRACKING ON", "CLIENT TRACKING OFF", "CLIENT LIST",
		"EVAL \"return redis.call('incr', 'n')\" 0", "CLIENT NO-TOUCH ON", "SELECT 1", "SELECT 0",
	}
	fmt.Fprint(sock, "HELLO 3\r\n")
	for range 1 + rnd.IntN(20) {
		var batch []byte
		quit := false
		for range 1 + rnd.IntN(30) {
			switch rnd.IntN(100) {
			case 0:
				batch = fmt.Appendf(batch, "CLIENT KILL ID %d\r\n", 2+rnd.Int64N(newestClient(s)+1))
			case 1:
				batch = fmt.Appendf(batch, "CLIENT TRACKING ON REDIRECT %d BCAST\r\n", 2+rnd.Int64N(newestClient(s)+1))
			default:
				batch = append(append(batch, said[rnd.IntN(len(said))]...), "\r\n"...)
			}
		}
		batch = fmt.Appendf(batch, "DISCARD\r\nECHO \"echo %d\"\r\n", sent)
		sent++
		if quit = rnd.IntN(20) == 0; quit {
			batch = append(batch, "QUIT\r\n"...)
		}
		for len(batch) > 0 {
			n := len(batch)
			if rnd.IntN(4) == 0 {
				n = 1 + rnd.IntN(len(batch))
			}
			if _, err := sock.Write(batch[:n]); err != nil {
				return err
			}
			batch = batch[n:]
		}
		switch rnd.IntN(8) {
		case 0:
			return nil // hangs up
		case 1: // reads later
		default:
			if err := hear(sent); err != nil {
				return err
			}
		}
		if quit {
			return hear(sent)
		}
	}
	return hear(sent)
}

func newestClient(s *Server) int64 {
	s.clients.mu.RLock()
	defer s.clients.mu.RUnlock()
	return s.clients.last
}
