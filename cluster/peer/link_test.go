package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCallsAreAnswered(t *testing.T) {
	n1, n2 := pair(t, nil, nil)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			from, to := n1, "n2"
			if i%2 == 1 {
				from, to = n2, "n1"
			}
			size := []int{0, 1, 100, maxSmallBytes, maxSmallBytes + 1, chunkBytes, chunkBytes + 1, 3*chunkBytes + 7}[i%8]
			request := bytes.Repeat([]byte{byte(i)}, size)
			answer, err := from.Call(soon(t), to, request)
			if err != nil || !bytes.Equal(answer, request) {
				t.Errorf("%d bytes: %v, %d bytes came back", size, err, len(answer))
			}
		})
	}
	wg.Wait()
}

// Small calls beside a large answer wait for a chunk of it, not for its end.
func TestLargeAnswerBesideSmallCalls(t *testing.T) {
	large := make([]byte, 100<<20)
	n1, _ := pair(t, nil, []option{withReply(func(_ string, request []byte) []byte {
		if string(request) == "large" {
			return large
		}
		return request
	})})
	beside := func() (small int) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			answer, err := n1.Call(soon(t), "n2", []byte("large"))
			if err != nil || len(answer) != len(large) {
				t.Errorf("large: %v, %d bytes", err, len(answer))
			}
		}()
		for {
			select {
			case <-done:
				return small
			default:
			}
			if _, err := n1.Call(soon(t), "n2", []byte("small")); err != nil {
				t.Fatal(err)
			}
			small++
		}
	}
	// If small ones waited for the large one's end, one or two would be answered each time.
	most := 0
	for try := 0; try < 5 && most < 20; try++ {
		most = max(most, beside())
	}
	if most < 20 {
		t.Errorf("%d small calls at most while a large answer came", most)
	}
}

func TestLostAnswerIsInDoubt(t *testing.T) {
	asked := make(chan bool)
	n1, _ := pair(t, nil, []option{withReply(func(string, []byte) []byte {
		asked <- true
		<-asked
		return nil
	})})
	got := make(chan error)
	go func() {
		_, err := n1.Call(soon(t), "n2", []byte("do it"))
		got <- err
	}()
	<-asked
	n1.line("n2").out.sock.Close()
	if err := <-got; !errors.Is(err, errLost) || errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
	n1.await(t, "unlinked n2")
	n1.await(t, "linked n2")
	close(asked) // the answer to the old link goes nowhere
}

func TestCallOutOfTimeIsInDoubt(t *testing.T) {
	asked := make(chan bool, 1)
	release := make(chan bool)
	n1, _ := pair(t, nil, []option{withReply(func(_ string, r []byte) []byte {
		if len(r) == 0 {
			return nil
		}
		asked <- true
		<-release
		return r
	})})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := n1.Call(ctx, "n2", []byte("slow")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
	close(release) // nobody waits for that answer
	if _, err := n1.Call(soon(t), "n2", nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestUnspeakableAnswer(t *testing.T) {
	n1, _ := pair(t, nil, []option{withReply(func(string, []byte) []byte { return make([]byte, maxMessageBytes+1) })})
	if _, err := n1.Call(soon(t), "n2", nil); !errors.Is(err, ErrAnswerTooLarge) || errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
	if _, err := n1.Call(soon(t), "n2", make([]byte, maxMessageBytes+1)); !errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
}

func TestPostsStayInOrder(t *testing.T) {
	const posts = 3000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	heard := make(chan int)
	next := 0
	n1, _ := pair(t, nil, []option{withHear(func(node string, frame []byte) {
		if got := int(binary.BigEndian.Uint32(frame)); got != next || node != "n1" {
			t.Errorf("frame %d of %s where %d was due", got, node, next)
		}
		if next++; next == posts {
			close(heard)
		}
	})})
	stop := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() { // something that takes turns with them
		for request := make([]byte, 300<<10); ; {
			select {
			case <-stop:
				return
			default:
				n1.Call(soon(t), "n2", request)
			}
		}
	})
	for i := range posts {
		size := 4 + rnd.IntN(200)
		if rnd.IntN(50) == 0 {
			size = rnd.IntN(300<<10) + 4
		}
		frame := make([]byte, size)
		binary.BigEndian.PutUint32(frame, uint32(i))
		awaitThat(t, "room", func() bool { return n1.Post("n2", frame) })
	}
	select {
	case <-heard:
	case <-time.After(patience):
		t.Error("not all were heard")
	}
	close(stop)
	wg.Wait()
}

// The way to come after what Linked posts: learn of the node from Linked.
func TestGreetingGoesFirst(t *testing.T) {
	var n1 *node
	var mu sync.Mutex // guards up and the order of posts
	up := map[string]bool{}
	began := make(chan bool)
	var greeting atomic.Int64
	heard := make(chan string, 100_000)
	tn := newTown()
	n1 = tn.open(t, "n1", withGreet(func(node string) {
		<-began
		mu.Lock()
		defer mu.Unlock()
		up[node] = true
		if !n1.Post(node, fmt.Appendf(nil, "greeting %d", greeting.Add(1))) {
			t.Error("the greeting was dropped")
		}
	}))
	tn.open(t, "n2", withHear(func(_ string, frame []byte) { heard <- string(frame) }))
	if n1.Post("n2", []byte("too early")) {
		t.Error("accepted before Linked")
	}
	var wg sync.WaitGroup
	quit := make(chan bool)
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				mu.Lock()
				if up["n2"] {
					n1.Post("n2", []byte("later"))
				}
				mu.Unlock()
			}
		})
	}
	n1.SetPeers([]string{"n2"})
	close(began)
	select {
	case first := <-heard:
		if first != "greeting 1" {
			t.Errorf("%q came first", first)
		}
	case <-time.After(patience):
		t.Error("nothing was heard")
	}
	close(quit)
	wg.Wait()
}

func TestNodeComesBackElsewhere(t *testing.T) {
	tn := newTown()
	n1, n2 := tn.open(t, "n1"), tn.open(t, "n2")
	n1.SetPeers([]string{"n2"})
	n2.SetPeers([]string{"n1"})
	n1.await(t, "linked n2")
	n2.await(t, "linked n1")
	n2.Close()
	n2.await(t, "unlinked n1")
	n1.await(t, "unlinked n2")
	again := tn.open(t, "n2") // under another port
	n1.await(t, "linked n2")
	if _, err := n1.Call(soon(t), "n2", []byte("you?")); err != nil {
		t.Error(err)
	}
	again.SetPeers([]string{"n1"})
	again.await(t, "linked n1")
}

func TestUnwantedLinkEnds(t *testing.T) {
	n1, n2 := pair(t, nil, nil)
	for range 20 { // each Linked after the Unlinked before it
		n1.SetPeers(nil)
		n1.SetPeers([]string{"n2"})
	}
	want := "unlinked n2"
	for end := time.After(patience); want != "done"; {
		select {
		case e := <-n1.events:
			switch e {
			case "linked n2", "unlinked n2":
				if e != want {
					t.Fatalf("%s where %s was due", e, want)
				}
				want = map[string]string{"linked n2": "unlinked n2", "unlinked n2": "linked n2"}[e]
			}
			if e == "linked n2" && len(*n1.links.Load()) == 1 && n1.Linked("n2") {
				want = "done"
			}
		case <-end:
			t.Fatalf("no %s", want)
		}
	}
	n1.SetPeers(nil)
	n1.await(t, "unlinked n2")
	n2.await(t, "left n1")
	if _, err := n1.Call(soon(t), "n2", nil); !errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
}

// A node that opens a second link has lost the first without our knowing.
func TestNewerLinkReplacesTheOlder(t *testing.T) {
	var mu sync.Mutex
	var story []string
	hearing := make(chan bool)
	tn := newTown()
	n2 := tn.open(t, "n2", withHear(func(_ string, frame []byte) {
		if string(frame) == "old" {
			hearing <- true
			<-hearing
		}
		mu.Lock()
		story = append(story, string(frame))
		mu.Unlock()
	}))
	n1 := tn.open(t, "n1")
	n1.SetPeers([]string{"n2"})
	n1.await(t, "linked n2")
	n1.Post("n2", []byte("old"))
	<-hearing

	conn, far, err := n1.dialNode(soon(t), "n2", purposeLink, dialTimeout)
	if err != nil || far.node != "n2" {
		t.Fatal(err, far)
	}
	defer conn.Close()
	conn.Write(appendFrame(nil, kindPost, 0, []byte("new")))
	n1.await(t, "unlinked n2")
	hearing <- true
	n2.await(t, "left n1")
	n2.await(t, "left n1") // the second one falls silent, or is replaced in turn
	mu.Lock()
	defer mu.Unlock()
	if len(story) < 1 || story[0] != "old" || len(story) > 1 && story[1] != "new" {
		t.Errorf("heard %q", story)
	}
}

func TestCloseTellsEverybody(t *testing.T) {
	n1, n2 := pair(t, nil, nil)
	n1.Close()
	n1.await(t, "unlinked n2", "left n2")
	n2.await(t, "unlinked n1", "left n1")
	n1.SetPeers([]string{"n2"}) // does nothing
	if _, err := n1.Call(soon(t), "n2", nil); !errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
	if err := n1.Close(); err != nil {
		t.Error(err)
	}
}
