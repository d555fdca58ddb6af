package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// deaf is a peer that is there and says so, and reads nothing until told to.
type deaf struct {
	listener net.Listener
	read     chan bool
	mute     chan bool
}

func newDeaf(t *testing.T, tn *town, id string) *deaf {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{l, make(chan bool), make(chan bool)}
	tn.move(id, l.Addr().String())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { d.serve(conn, id) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return d
}

func (d *deaf) serve(conn net.Conn, id string) {
	defer conn.Close()
	_, w, err := receive(conn, "hush")
	if err != nil || w.welcome(id, "", Address{}) != nil {
		return
	}
	read := d.read
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := conn.Write(appendFrame(nil, kindNothing, 0, nil)); err != nil {
				return
			}
		case <-read:
			read = nil
			go io.Copy(io.Discard, conn)
		case <-d.mute:
			conn.SetReadDeadline(time.Now().Add(patience))
			io.Copy(io.Discard, conn) // until the other side has had enough
			return
		}
	}
}

func TestPeerThatStopsReading(t *testing.T) {
	tn := newTown()
	d := newDeaf(t, tn, "n2")
	n1, _ := tn.open(t, "n1"), tn.open(t, "n3")
	n1.SetPeers([]string{"n2", "n3"})
	n1.await(t, "linked n2")
	awaitThat(t, "a link to n3", func() bool { return n1.Linked("n3") })

	// Posts are dropped once 64 MiB wait.
	frame := make([]byte, 1<<20)
	posted := 0
	for n1.Post("n2", frame) {
		if posted++; posted > 1000 {
			t.Fatal("the outbox has no end")
		}
	}
	if posted < 60 || n1.Dropped() != 1 {
		t.Errorf("%d MiB were taken, %d dropped", posted, n1.Dropped())
	}
	// Once nothing goes any more, calls in the outbox certainly did not arrive.
	brief := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	awaitThat(t, "a small call that is not sent", func() bool {
		_, err := n1.Call(brief(), "n2", []byte("small"))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("small: %v", err)
		}
		return errors.Is(err, ErrNotSent)
	})
	if _, err := n1.Call(brief(), "n2", frame); !errors.Is(err, ErrNotSent) {
		t.Errorf("large: %v", err)
	}
	// Calls fill their room, then wait for it.
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan error, 300)
	for range 300 {
		go func() {
			_, err := n1.Call(ctx, "n2", frame)
			results <- err
		}()
	}
	o := n1.line("n2").out
	awaitThat(t, "full", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.rotationRoom.free != nil })
	// Somebody else does not notice.
	if _, err := n1.Call(soon(t), "n3", frame); err != nil || !n1.Post("n3", frame) {
		t.Errorf("another peer: %v", err)
	}
	cancel()
	for range 300 {
		if err := <-results; !errors.Is(err, ErrNotSent) {
			t.Errorf("got %v", err)
		}
	}
	d.read <- true
	awaitThat(t, "posts go again", func() bool { return n1.Post("n2", frame) })
	awaitThat(t, "nothing waits", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.postBytes == 0 && o.smallRoom.bytes == 0 && o.rotationRoom.bytes == 0
	})
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	t.Parallel()
	tn := newTown()
	d := newDeaf(t, tn, "n2")
	n1 := tn.open(t, "n1")
	n1.SetPeers([]string{"n2"})
	n1.await(t, "linked n2")
	got := make(chan error)
	go func() {
		_, err := n1.Call(soon(t), "n2", nil)
		got <- err
	}()
	d.mute <- true
	n1.await(t, "unlinked n2")
	if err := <-got; errors.Is(err, ErrNotSent) || !errors.Is(err, errLost) {
		t.Errorf("got %v", err)
	}
}

// A peer whose calls take long still hears us, and answers when it can.
func TestCallersAreHeldAtTheLimit(t *testing.T) {
	var l = load{freed: make(chan struct{}, 1)}
	quit := make(chan struct{})
	for range maxAnswering {
		if !l.enter(1, quit) {
			t.Fatal("refused")
		}
	}
	entered := make(chan bool)
	go func() { entered <- l.enter(1, quit) }()
	select {
	case <-entered:
		t.Fatal("one too many")
	default:
	}
	l.leave(1)
	if !<-entered {
		t.Error("refused after one has left")
	}
	close(quit)
	if l.enter(1, quit) {
		t.Error("entered after the end")
	}
}

// A link whose answers take longer than maxSilence stays.
func TestSlowAnswerIsNotSilence(t *testing.T) {
	t.Parallel()
	n1, _ := pair(t, nil, []option{withReply(func(string, []byte) []byte {
		time.Sleep(maxSilence + maxSilence/2)
		return nil
	}), withHear(func(string, []byte) {
		time.Sleep(maxSilence + maxSilence/2)
	})})
	n1.Post("n2", nil)
	if _, err := n1.Call(soon(t), "n2", nil); err != nil {
		t.Error(err)
	}
}
