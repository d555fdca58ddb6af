package load_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"crema/internal/load"
	"crema/server"
)

// crema is a server in this process.
func crema(t *testing.T) *load.Server {
	t.Helper()
	srv, err := server.New(server.Config{LogHandler: func(slog.Leveler) slog.Handler { return slog.DiscardHandler }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &load.Server{Name: "crema", Nodes: load.Targets(srv.Addr())}
}

func job(t *testing.T, mix string, keys int64) *load.Job {
	t.Helper()
	k, err := load.ParseKeys("uniform", keys)
	if err != nil {
		t.Fatal(err)
	}
	return &load.Job{Name: mix, Mix: load.Mixes[mix], Clients: 5, Pipeline: 3, Keys: k, Sizes: load.FixedSize(64), TTL: time.Minute, For: time.Hour, Count: 3000, Writes: 0.3}
}

// engines take a turn each in its way: as Run does, and with goroutines.
var engines = []func(*load.Job, *load.Server) (*load.Turn, error){
	func(j *load.Job, s *load.Server) (*load.Turn, error) {
		return load.Run(context.Background(), j, s, nil)
	},
	func(j *load.Job, s *load.Server) (*load.Turn, error) {
		return load.Run(context.Background(), j, load.Portable(s), nil)
	},
}

// Every mix is answered as it should be, and a turn with a Count does that many.
func TestMixes(t *testing.T) {
	s := crema(t)
	for _, name := range load.MixNames() {
		j := job(t, name, 1000)
		switch name {
		case "set-wait": // needs a replica
			continue
		case "fanout":
			continue // below
		case "release":
			j.Ready = func(ctx context.Context, s *load.Server) error { return load.TakeLocks(ctx, j, s) }
		}
		for _, engine := range engines {
			turn, err := engine(j, s)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			checkCounts(t, turn)
		}
	}
}

func checkCounts(t *testing.T, turn *load.Turn) {
	j, name := turn.Job, turn.Job.Name
	if turn.Wrong != 0 || turn.Operations != j.Count || turn.Requests < j.Count || turn.Took <= 0 || turn.At(50) <= 0 {
		t.Errorf("%s: %d operations of %d, %d requests, %d wrong, %s, p50 %s", name, turn.Operations, j.Count, turn.Requests, turn.Wrong, turn.Took, turn.At(50))
	}
	if name == "lock" && turn.Requests != 2*turn.Operations {
		t.Errorf("lock: %d requests for %d locks", turn.Requests, turn.Operations)
	}
	if turn.Latency.TotalCount() != turn.Requests {
		t.Errorf("%s: %d latencies of %d requests", name, turn.Latency.TotalCount(), turn.Requests)
	}
}

// What is missing is filled: the second time nearly everything is found.
func TestCacheAside(t *testing.T) {
	s, j := crema(t), job(t, "cache-aside", 500)
	for round, want := range []func(*load.Turn) bool{
		func(t *load.Turn) bool { return t.Misses >= 490 && t.Requests == t.Operations+t.Misses },
		func(t *load.Turn) bool { return t.Misses <= 10 && t.HitRatio() > 0.99 },
	} {
		turn, err := load.Run(context.Background(), j, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !want(turn) {
			t.Errorf("turn %d: %d hits, %d misses, %d requests", round, turn.Hits, turn.Misses, turn.Requests)
		}
		j.Seed++
	}
}

func TestLoad(t *testing.T) {
	s := crema(t)
	if err := load.Load(context.Background(), s, 10_000, load.FixedSize(10), time.Minute, load.Progress{}); err != nil {
		t.Fatal(err)
	}
	for want, words := range map[string][]string{"10000": {"DBSIZE"}, "abcdefghij": {"GET", "key:000000009999"}} {
		if got, err := s.Nodes[0].Ask(words...); err != nil || got != want {
			t.Errorf("%v: %q, %v", words, got, err)
		}
	}
}

// Each message reaches each subscriber, whether it goes by a channel, by a pattern
// or past subscribers who never read.
func TestFanout(t *testing.T) {
	s := crema(t)
	for name, l := range map[string]load.Listening{"channel": {}, "patterns": {Patterns: 3}, "channels": {Channels: true}, "stalled": {Stalled: 2}} {
		j := job(t, "", 1)
		j.Mix, j.Clients, j.Count = load.Fanout(7, l), 2, 0
		for _, engine := range engines {
			var turn *load.Turn
			for j.For = 100 * time.Millisecond; (turn == nil || turn.Delivered == 0) && j.For < 10*time.Second; j.For *= 2 { // for a machine that stands still for a while
				var err error
				if turn, err = engine(j, s); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			reach := int64(7)
			if l.Channels {
				reach = 1
			}
			// What was published before the turn counted, or came after, is within the window.
			if off := turn.Delivered - reach*turn.Operations; turn.Wrong != 0 || turn.Delivered == 0 || max(off, -off) > 7*2*2*4*3 {
				t.Errorf("%s: %d messages, %d deliveries, %d wrong", name, turn.Operations, turn.Delivered, turn.Wrong)
			}
			if turn.At(99) <= 0 || turn.At(99) > 10*time.Second {
				t.Errorf("%s: p99 %s", name, turn.At(99))
			}
		}
	}
}

// An answer that is not as it should be ends the run: the figures would be those of
// something else.
func TestWrongAnswers(t *testing.T) {
	s := &load.Server{Name: "fake", Nodes: load.Targets(answering(t, func(int) string { return "-NOAUTH Authentication required.\r\n" }))}
	j := job(t, "set", 1)
	_, err := load.Run(context.Background(), j, s, nil)
	if err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("errors are taken for answers: %v", err)
	}
}

// answering is a server that reads commands and answers with what answer says of how
// many there were so far; "" is for later.
func answering(t *testing.T, answer func(number int) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			sock, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() { // ends with the connection
				defer sock.Close()
				b, number := make([]byte, 64<<10), 0
				for {
					n, err := sock.Read(b)
					if err != nil {
						return
					}
					for range bytes.Count(b[:n], []byte("*")) {
						number++
						io.WriteString(sock, answer(number))
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// A server that stops for a while is seen to stop by all who were due meanwhile, not
// only by who was waiting already.
func TestOpenLoop(t *testing.T) {
	const rate, stops, goesOn, all = 2000, 20, 220, 300 // at 0.5 ms each, it stops for 100 ms at least
	s := &load.Server{Name: "fake", Nodes: load.Targets(answering(t, func(number int) string {
		switch {
		case number <= stops || number > goesOn:
			return "+PONG\r\n"
		case number == goesOn: // it only comes if requests are sent while others wait
			return strings.Repeat("+PONG\r\n", goesOn-stops)
		}
		return ""
	}))}
	for _, engine := range engines {
		j := job(t, "ping", 1)
		j.Clients, j.Pipeline, j.Rate, j.Count = 1, 1, rate, all
		turn, err := engine(j, s)
		if err != nil {
			t.Fatal(err)
		}
		if turn.Operations != all {
			t.Errorf("%d of %d", turn.Operations, all)
		}
		// Those that were due in the first half of the stop waited for the other half
		// or more.
		late := int64(0)
		for _, b := range turn.Latency.Distribution() {
			if b.From >= (49 * time.Millisecond).Nanoseconds() {
				late += b.Count
			}
		}
		if late < (goesOn-stops)/2 {
			t.Errorf("%d requests waited for half of the stop, %d were due", late, (goesOn-stops)/2)
		}
	}
}

func TestTableAndCharts(t *testing.T) {
	s := crema(t)
	rival := &load.Server{Name: "a <rival>", Nodes: s.Nodes}
	j := job(t, "get", 100)
	servers := []*load.Server{s, rival}
	turns, err := load.Rounds(context.Background(), j, servers, 3, load.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	load.Table(&out, j, servers, turns)
	for _, want := range []string{"get: 5 clients, closed loop, pipeline 3, 64 B values, median of 3", "crema", "a <rival>", "1.00", "0.0 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for _, chart := range [][]byte{
		load.Latencies(j, servers, turns),
		load.Bars("a & b", []load.Bar{{Name: "x < y", Ratio: 0.5, Target: 1, Met: true}, {Name: "far", Ratio: 30}}),
	} {
		if err := xml.Unmarshal(chart, new(struct{})); err != nil {
			t.Errorf("%v in\n%s", err, chart)
		}
	}
}
