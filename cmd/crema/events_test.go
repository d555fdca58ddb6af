package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// watcher is what EventSource is in a browser that knows several servers: it
// comes back to the next one, and shows the id of what it has dispatched last.
type watcher struct {
	query string
	bases []string // where; the first that answers is kept

	mu     sync.Mutex // guards what follows
	events []event
	lastID string
	on     string // where the newest event came from; "" before the first stream has begun
}

type event struct{ name, id, data string }

// watch goes on until ctx ends; wg knows.
func (w *watcher) watch(ctx context.Context, wg *sync.WaitGroup) {
	defer wg.Done()
	for i := 0; ctx.Err() == nil; i++ {
		w.stream(ctx, w.bases[i%len(w.bases)])
		select {
		case <-time.After(20 * time.Millisecond): // a browser's is a second
		case <-ctx.Done():
		}
	}
}

func (w *watcher) stream(ctx context.Context, base string) {
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/events?"+w.query, nil)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	id := w.lastID
	w.mu.Unlock()
	if id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return
	}
	var e event
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			id = value
		case "data":
			e.data += value
		case "":
			w.mu.Lock()
			if w.lastID, w.on = id, base; e.name != "" {
				e.id = id
				w.events = append(w.events, e)
			}
			w.mu.Unlock()
			e = event{}
		}
	}
}

func (w *watcher) state() (events []event, on string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events), w.on
}

// Browsers lose nothing, and are told nothing twice, when the node they listen to
// is killed, when the one they come to has been killed before and has begun anew,
// and whoever publishes meanwhile by way of the others.
func TestEventsSurviveKills(t *testing.T) {
	nodes := newNodes(t, "n1", "n2", "n3")
	var bases []string
	for i, n := range nodes {
		_, port, _ := net.SplitHostPort(freeAddr(t))
		bases = append(bases, "http://127.0.0.1:"+port)
		n.flags = []string{"--peers", peersOf(nodes...), "--http-port", port, "--rest-token", "T", "--history", "batch:*=100000,1h,64mb"}
		nodes[i].run(t)
	}
	healthy(t, nodes...)

	ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var watchers []*watcher
	for i := range 6 {
		w := &watcher{query: url.Values{"token": {"T"}, "channel": {"batch:1"}, "pattern": {"batch:2*"}}.Encode()}
		for k := range nodes {
			w.bases = append(w.bases, bases[(i+k)%len(nodes)])
		}
		watchers = append(watchers, w)
		wg.Add(1)
		go w.watch(ctx, &wg)
	}
	for _, w := range watchers {
		eventually(t, func() (bool, string) {
			_, on := w.state()
			return on != "", "no stream began"
		})
	}

	// A publisher at each node; what it numbers it publishes once. It knows what
	// was acknowledged, and starts at a node anew when that is back.
	stop := make(chan struct{})
	acked := make([]map[int]bool, len(nodes))
	failed := make([]int, len(nodes))
	var publishing sync.WaitGroup
	for i, n := range nodes {
		acked[i] = map[int]bool{}
		publishing.Add(1)
		go func() {
			defer publishing.Done()
			for seq := 1; ; {
				sock, err := net.Dial("tcp", n.client)
				s := &session{sock, bufio.NewReader(sock)}
				for err == nil {
					var answer string
					answer, err = s.line(fmt.Sprintf("PUBLISH batch:%d %d:%d", 1+seq%2, i, seq))
					if err == nil && strings.HasPrefix(answer, ":") {
						acked[i][seq] = true
					} else {
						failed[i]++
					}
					seq++
					select {
					case <-stop:
						sock.Close()
						return
					case <-time.After(time.Millisecond):
					}
				}
				if sock != nil {
					sock.Close()
				}
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
	}

	// more waits until everybody was told of some more.
	more := func() {
		t.Helper()
		for _, w := range watchers {
			before, _ := w.state()
			eventually(t, func() (bool, string) {
				events, _ := w.state()
				return len(events) >= len(before)+200, "a watcher is told nothing more"
			})
		}
	}

	killed := map[int]bool{}
	for _, victim := range []int{0, 1} {
		more()
		nodes[victim].kill()
		killed[victim] = true
		for _, w := range watchers {
			eventually(t, func() (bool, string) {
				_, on := w.state()
				return on != bases[victim], "still at the node that was killed"
			})
		}
		more()
		nodes[victim].run(t)
		healthy(t, nodes...)
	}
	more()
	close(stop)
	publishing.Wait()

	// Everybody hears the end of it.
	for i := range nodes {
		talk(t, nodes[i].client, fmt.Sprintf("PUBLISH batch:1 end:%d", i))
	}
	for k, w := range watchers {
		eventually(t, func() (bool, string) {
			events, on := w.state()
			ends := 0
			for _, e := range events {
				if strings.HasPrefix(e.data, "end:") {
					ends++
				}
			}
			return ends == len(nodes), fmt.Sprintf("watcher %d at %s has %d ends", k, on, ends)
		})
	}
	for k, w := range watchers {
		events, _ := w.state()
		last, seen := map[int]int{}, map[string]int{}
		for _, e := range events {
			if e.name == "crema:gap" {
				t.Errorf("watcher %d was told of a gap: %s", k, e.data)
				continue
			}
			if seen[e.data]++; seen[e.data] > 1 {
				t.Errorf("watcher %d was told %s %d times", k, e.data, seen[e.data])
			}
			from, number, _ := strings.Cut(e.data, ":")
			if from == "end" {
				continue
			}
			i, _ := strconv.Atoi(from)
			seq, _ := strconv.Atoi(number)
			if e.id == "" || e.name != fmt.Sprintf("batch:%d", 1+seq%2) || seq <= last[i] {
				t.Errorf("watcher %d was told %+v behind %d", k, e, last[i])
			}
			last[i] = seq
		}
		lost := 0
		for i := range nodes {
			for seq := range acked[i] {
				if seen[fmt.Sprintf("%d:%d", i, seq)] > 0 {
					continue
				}
				if lost++; !killed[i] || lost > 50 { // what no other node had when its own was killed
					t.Errorf("watcher %d was not told %d:%d", k, i, seq)
				}
			}
		}
		t.Logf("watcher %d: %d events; %d were acknowledged by nodes that were killed and unheard", k, len(events), lost)
	}
	t.Logf("acknowledged %d %d %d, failed %v", len(acked[0]), len(acked[1]), len(acked[2]), failed)
}
