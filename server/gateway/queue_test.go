package gateway

import (
	"errors"
	"testing"
)

func TestQueue(t *testing.T) {
	slow := 0
	q := NewQueue(func() { slow++ })
	one, two := &Message{Channel: []byte("1")}, &Message{Channel: []byte("2")}
	if !q.Push(one) || !q.Push(two) {
		t.Fatal("refused")
	}
	<-q.Wake()
	list, err := q.Take(nil)
	if len(list) != 2 || list[0] != one || list[1] != two || err != nil {
		t.Fatalf("%v, %v", list, err)
	}
	if n, bytes := q.Pending(); n != 0 || bytes != 0 {
		t.Errorf("%d messages of %d bytes are left", n, bytes)
	}
	select {
	case <-q.Wake():
		t.Error("woken for nothing")
	default:
	}
	// One that does not take is closed at its limit, once, and told of nothing more.
	big := &Message{Payload: make([]byte, maxQueueBytes/4)}
	for i := range 10 {
		if ok := q.Push(big); ok != (i < 3) {
			t.Errorf("push %d: %v", i, ok)
		}
	}
	<-q.Wake()
	if list, err := q.Take(list); len(list) != 0 || !errors.Is(err, ErrSlow) || slow != 1 {
		t.Errorf("%d messages, %v, %d times slow", len(list), err, slow)
	}
	q.Close(ErrEnded)
	if _, err := q.Take(nil); !errors.Is(err, ErrSlow) {
		t.Errorf("closed a second time: %v", err)
	}
}

// A stream that was told much at once does not keep the room.
func TestQueueKeepsLittle(t *testing.T) {
	q := NewQueue(func() {})
	q.Take(make([]*Message, 100*keepMessages))
	q.Push(&Message{})
	if list, _ := q.Take(nil); cap(list) > keepMessages {
		t.Errorf("room for %d messages", cap(list))
	}
}

// What streams of one format share is encoded once.
func TestMessageIsEncodedOnce(t *testing.T) {
	m := &Message{Kind: Published, Channel: []byte("c"), Payload: []byte("p")}
	a, b := m.As(formatSDK), m.As(formatSDK)
	if string(a) != "data: message,c,p\n\n" || &a[0] != &b[0] {
		t.Errorf("%q, %q", a, b)
	}
}
