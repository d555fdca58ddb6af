package server

import (
	"slices"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	var r rates
	now := time.Unix(1e9, 0)
	for i := range int64(rateSamples + 1) {
		r.sample(now.Add(time.Duration(i)*cronEvery), 50*i, 1024*i, 2048*i)
	}
	if ops, in, out := r.mean(); int(ops+.5) != 500 || int(in+.5) != 10240 || int(out+.5) != 20480 {
		t.Errorf("means are %v, %v and %v, want 500, 10240 and 20480", ops, in, out)
	}
	// CONFIG RESETSTAT: the next sample counts from 0 instead of backwards.
	r.sample(now.Add((rateSamples+1)*cronEvery), 50, 1024, 2048)
	if ops, _, _ := r.mean(); int(ops+.5) != 500 {
		t.Errorf("mean after a reset is %v, want 500", ops)
	}
}

func TestLatencyEvents(t *testing.T) {
	var l latencyEvents
	now := time.Unix(1e9, 0)
	for i := range 2 * latencySamples {
		l.note("command", time.Duration(i+1)*time.Millisecond, now.Add(time.Duration(i)*time.Second))
	}
	last := now.Add(time.Duration(2*latencySamples-1) * time.Second)
	l.note("command", time.Hour, last) // the worst of the same second counts
	l.note("command", time.Millisecond, last)
	series := l.events["command"]
	hour := time.Hour.Milliseconds()
	if n := len(series.samples); n != latencySamples || series.samples[n-1].ms != hour || series.longest != hour {
		t.Errorf("%d samples, the last %v, the longest %d", n, series.samples[n-1], series.longest)
	}
	if first := series.samples[0].ms; first != latencySamples+1 {
		t.Errorf("the oldest sample is %d ms, want the oldest of the newest %d", first, latencySamples)
	}
}

// Of two pauses the later end and the stricter kind count, and everybody who
// waits learns of the end.
func TestPause(t *testing.T) {
	var p pause
	p.begin(time.Hour, true)
	if left, _ := p.holds(false); left != 0 {
		t.Errorf("a read is held back for %v by a pause of writes", left)
	}
	p.begin(time.Minute, false)
	left, changed := p.holds(false)
	if left < 59*time.Minute {
		t.Errorf("a second, shorter pause left %v", left)
	}
	p.end()
	<-changed
	if left, _ := p.holds(true); left != 0 || p.on.Load() {
		t.Errorf("after the end, writes are held back for %v", left)
	}
}

func TestEventLetters(t *testing.T) {
	for said, shown := range map[string]string{
		"": "", "KEA": "AKE", "AKEmn": "AKEm", "KEg$lshzxetdmn": "AKEm", "g": "g", "Kx": "xK", "mn$xeKE": "$xenKEm", "dt": "td",
	} {
		var set settings
		if reason := setEvents(&set, said); reason != "" || eventLetters(set.events) != shown {
			t.Errorf("%q is shown as %q (%s), want %q", said, eventLetters(set.events), reason, shown)
		}
	}
	if setEvents(&settings{}, "Ky") == "" {
		t.Error("y is taken for a class")
	}
}

// A parameter is shown as it was set, or CONFIG SET name of CONFIG GET name
// would change something.
func TestParamsRoundTrip(t *testing.T) {
	cfg := Config{}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	set, err := cfg.settings()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: cfg}
	var names []string
	for _, p := range params {
		names = append(names, p.name)
		if p.set == nil {
			continue
		}
		before := p.get(s, &set)
		if reason := p.set(&set, before); reason != "" || p.get(s, &set) != before {
			t.Errorf("%s %q becomes %q (%s)", p.name, before, p.get(s, &set), reason)
		}
	}
	if slices.Sort(names); len(slices.Compact(names)) != len(params) {
		t.Error("two parameters have one name")
	}
}

func TestShorten(t *testing.T) {
	words := make([][]byte, 40)
	for i := range words {
		words[i] = make([]byte, 200)
	}
	kept := shorten(words)
	if len(kept) != 32 || string(kept[31]) != "... (9 more arguments)" || string(kept[0][128:]) != "... (72 more bytes)" {
		t.Errorf("%d words, the first ends %q, the last is %q", len(kept), kept[0][128:], kept[len(kept)-1])
	}
}
