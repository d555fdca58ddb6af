package world

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// Quality is what one directed link does to packets.
type Quality struct {
	Delay  time.Duration
	Jitter time.Duration // added to Delay, uniformly from zero to this
	Loss   float64       // 0 to 1
}

const (
	mtu = 9000
	// A link that delays holds at most so many packets; more are dropped, as a
	// router would.
	maxDelayedPackets = 4096
)

// Switch carries IPv4 packets between ports. A port's address ends in its
// number plus one.
type Switch struct {
	ports []io.ReadWriteCloser

	mu    sync.Mutex
	links [][]link // from, to
	rng   *rand.Rand

	done sync.WaitGroup
}

type link struct {
	cuts    int // partitions that lie over each other
	quality Quality
	last    time.Time // when the latest delayed packet arrives: none overtakes it
	delayed chan packet
}

type packet struct {
	due   time.Time
	bytes []byte
}

// newSwitch starts one goroutine per port and one per link; close ends them.
func newSwitch(ports []io.ReadWriteCloser, seed uint64) *Switch {
	s := &Switch{ports: ports, rng: rand.New(rand.NewPCG(seed, 1))}
	s.links = make([][]link, len(ports))
	for from := range ports {
		s.links[from] = make([]link, len(ports))
		for to := range ports {
			if from == to {
				continue
			}
			queue := make(chan packet, maxDelayedPackets)
			s.links[from][to].delayed = queue
			go s.deliver(queue, to)
		}
	}
	for from := range ports {
		s.done.Add(1)
		go s.read(from)
	}
	return s
}

func (s *Switch) read(from int) {
	defer s.done.Done()
	buffer := make([]byte, mtu+64)
	for {
		n, err := s.ports[from].Read(buffer)
		if err != nil {
			return
		}
		if to := s.destination(buffer[:n]); to >= 0 && to != from {
			s.carry(from, to, buffer[:n])
		}
	}
}

// destination is -1 for what is not an IPv4 packet to one of the ports.
func (s *Switch) destination(b []byte) int {
	if len(b) < 20 || b[0]>>4 != 4 {
		return -1
	}
	to := int(b[19]) - 1
	if to >= len(s.ports) {
		return -1
	}
	return to
}

func (s *Switch) carry(from, to int, b []byte) {
	s.mu.Lock()
	l := &s.links[from][to]
	now := time.Now()
	if l.cuts > 0 || l.quality.Loss > 0 && s.rng.Float64() < l.quality.Loss {
		s.mu.Unlock()
		return
	}
	due := now.Add(l.quality.Delay)
	if l.quality.Jitter > 0 {
		due = due.Add(time.Duration(s.rng.Int64N(int64(l.quality.Jitter))))
	}
	if due.Before(l.last) {
		due = l.last
	}
	if due.After(now) {
		// A copy: the buffer is read into again.
		select {
		case l.delayed <- packet{due, append([]byte(nil), b...)}:
			l.last = due
		default:
		}
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.ports[to].Write(b) // a device that is down drops
}

func (s *Switch) deliver(queue chan packet, to int) {
	for p := range queue {
		time.Sleep(time.Until(p.due))
		s.ports[to].Write(p.bytes)
	}
}

// Cut drops everything from one port to another until Mend was called as often.
func (s *Switch) Cut(from, to int) { s.cut(from, to, 1) }

// Mend takes one Cut back.
func (s *Switch) Mend(from, to int) { s.cut(from, to, -1) }

func (s *Switch) cut(from, to, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[from][to].cuts += by
}

// Degrade sets what the link does to the packets it does not cut.
func (s *Switch) Degrade(from, to int, q Quality) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[from][to].quality = q
}

func (s *Switch) close() {
	for _, p := range s.ports {
		p.Close()
	}
	s.done.Wait() // nobody carries any more
	for from := range s.links {
		for to := range s.links[from] {
			if q := s.links[from][to].delayed; q != nil {
				close(q)
			}
		}
	}
}
