package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Mixes are what a server can be asked to do.
var Mixes = map[string]Mix{
	"get":         one(templateOf("GET", "key:#"), orNull),
	"incr":        one(templateOf("INCR", "cnt:#"), isNumber),
	"incr-hot":    one(templateOf("INCR", "hot"), isNumber),
	"ping":        one(templateOf("PING"), isOK),
	"set":         set(false),
	"set-ttl":     set(true),
	"set-wait":    setWait,
	"mixed":       mixed,
	"cache-aside": cacheAside,
	"churn":       churn,
	"session":     session,
	"acquire":     acquire,
	"release":     release,
	"lock":        lock,
	"publish":     one(templateOf("PUBLISH", "news", strings.Repeat("x", messageBytes)), isNumber),
	"fanout":      Fanout(100, Listening{}),
}

// MixNames are their names, in order.
func MixNames() []string {
	names := make([]string, 0, len(Mixes))
	for name := range Mixes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func isOK(a Answer) bool     { return a.Kind == '+' }
func isNumber(a Answer) bool { return a.Kind == ':' }
func orNull(a Answer) bool   { return a.Kind == '$' || a.Kind == '_' }
func isOne(a Answer) bool    { return a.Kind == ':' && len(a.Text) == 1 && a.Text[0] == '1' }

// plain is one command, over and over.
type plain struct {
	key  func() int64
	put  func(b []byte, key int64) []byte
	want func(Answer) bool
}

func (w *plain) Next(c *Client) {
	key := w.key()
	c.out = w.put(c.out, key)
	c.Ask(0, key)
}

func (w *plain) Answer(c *Client, _ Request, a Answer) {
	if !w.want(a) {
		c.wrong(a)
	}
	c.note(a)
	c.done()
}

// note counts what a read found.
func (c *Client) note(a Answer) {
	switch a.Kind {
	case '$':
		c.tally.Hits++
	case '_':
		c.tally.Misses++
	}
}

func one(command template, want func(Answer) bool) Mix {
	return func(t *Turn, number int) Work {
		return &plain{t.Job.Keys.chooser(t.Job.Seed, number), command.put, want}
	}
}

func set(ttl bool) Mix {
	return func(t *Turn, number int) Work {
		return &plain{t.Job.Keys.chooser(t.Job.Seed, number), newSetter(t.Job, number, ttl).put, isOK}
	}
}

// Kinds of requests of the mixes that send more than one.
const (
	asRead = iota
	asWrite
	asFill
	asDelete
	asAcquire
	asRelease
	asWait
)

// setWait has each batch of writes on one replica before it goes on.
func setWait(t *Turn, number int) Work {
	return &waiting{plain: plain{t.Job.Keys.chooser(t.Job.Seed, number), newSetter(t.Job, number, false).put, isOK}}
}

type waiting struct {
	plain
	written int
}

var waitForOne = templateOf("WAIT", "1", "0")

func (w *waiting) Next(c *Client) {
	w.plain.Next(c)
	if w.written++; w.written%c.turn.Job.Pipeline == 0 {
		c.out = waitForOne.put(c.out, 0)
		c.Ask(asWait, 0)
	}
}

func (w *waiting) Answer(c *Client, to Request, a Answer) {
	if to.Kind != asWait {
		w.plain.Answer(c, to, a)
	} else if !isOne(a) {
		c.wrong(a)
	}
}

// mixed reads, and writes a share of the time.
func mixed(t *Turn, number int) Work {
	return &readWrite{
		plain:  plain{t.Job.Keys.chooser(t.Job.Seed, number), newSetter(t.Job, number, t.Job.TTL > 0).put, isOK},
		random: rand.New(rand.NewPCG(uint64(number), t.Job.Seed+1<<32)), writes: t.Job.Writes, get: templateOf("GET", "key:#"),
	}
}

type readWrite struct {
	plain
	random *rand.Rand
	writes float64
	get    template
}

func (w *readWrite) Next(c *Client) {
	if w.random.Float64() < w.writes {
		w.plain.Next(c)
		return
	}
	key := w.key()
	c.out = w.get.put(c.out, key)
	c.Ask(asRead, key)
}

func (w *readWrite) Answer(c *Client, _ Request, a Answer) {
	if !orNull(a) && !isOK(a) {
		c.wrong(a)
	}
	c.note(a)
	c.done()
}

// cacheAside reads, and writes with a TTL what it did not find.
func cacheAside(t *Turn, number int) Work {
	return &aside{key: t.Job.Keys.chooser(t.Job.Seed, number), get: templateOf("GET", "key:#"), fill: newSetter(t.Job, number, true)}
}

type aside struct {
	key  func() int64
	get  template
	fill *setter
}

func (w *aside) Next(c *Client) {
	key := w.key()
	c.out = w.get.put(c.out, key)
	c.Ask(asRead, key)
}

func (w *aside) Answer(c *Client, to Request, a Answer) {
	switch {
	case to.Kind == asFill && !isOK(a), to.Kind == asRead && !orNull(a):
		c.wrong(a)
	case to.Kind == asRead:
		c.note(a)
		if a.Kind == '_' {
			c.out = w.fill.put(c.out, to.Key)
			c.Ask(asFill, to.Key)
			return
		}
	}
	c.done()
}

// session is a web session: GETEX on each request, SETEX when it is new or has
// changed, DEL when the user leaves.
func session(t *Turn, number int) Work {
	j, ttl := t.Job, strconv.Itoa(max(1, int(t.Job.TTL.Seconds())))
	w := &sessions{
		key: j.Keys.chooser(j.Seed, number), random: rand.New(rand.NewPCG(uint64(number), t.Job.Seed+2<<32)),
		get: templateOf("GETEX", "key:#", "EX", ttl), del: templateOf("DEL", "key:#"),
	}
	w.set = setter{sizes: j.Sizes, random: w.random, filler: filler()}
	w.set.head.text = appendHead(nil, 4)
	for _, word := range [...]string{"SETEX", "key:#", ttl} {
		w.set.head.word(word)
	}
	if j.Sizes.fixed() {
		w.set.whole = templateOf("SETEX", "key:#", ttl, string(w.set.filler[:j.Sizes.min]))
	}
	return w
}

type sessions struct {
	key    func() int64
	random *rand.Rand
	get    template
	set    setter
	del    template
}

func (w *sessions) Next(c *Client) {
	key := w.key()
	switch n := w.random.IntN(100); {
	case n < 80:
		c.out = w.get.put(c.out, key)
		c.Ask(asRead, key)
	case n < 95:
		c.out = w.set.put(c.out, key)
		c.Ask(asWrite, key)
	default:
		c.out = w.del.put(c.out, key)
		c.Ask(asDelete, key)
	}
}

func (w *sessions) Answer(c *Client, to Request, a Answer) {
	switch {
	case to.Kind == asRead && !orNull(a), to.Kind == asWrite && !isOK(a), to.Kind == asDelete && !isNumber(a):
		c.wrong(a)
	case to.Kind == asRead:
		c.note(a)
		if a.Kind == '_' {
			c.out = w.set.put(c.out, to.Key)
			c.Ask(asWrite, to.Key)
			return
		}
	}
	c.done()
}

// churn writes keys with and without a TTL, reads some, and deletes some.
func churn(t *Turn, number int) Work {
	return &churning{
		key: t.Job.Keys.chooser(t.Job.Seed, number), random: rand.New(rand.NewPCG(uint64(number), t.Job.Seed+4<<32)),
		keep: newSetter(t.Job, number, false), set: newSetter(t.Job, number, true), get: templateOf("GET", "key:#"), del: templateOf("DEL", "key:#"),
	}
}

type churning struct {
	key       func() int64
	random    *rand.Rand
	keep, set *setter
	get, del  template
}

// Next keeps little for good: what is pinned is deleted sooner than it is written.
func (w *churning) Next(c *Client) {
	key := w.key()
	switch n := w.random.IntN(100); {
	case n < 2:
		c.out = w.keep.put(c.out, key)
	case n < 80:
		c.out = w.set.put(c.out, key)
	case n < 90:
		c.out = w.del.put(c.out, key)
	default:
		c.out = w.get.put(c.out, key)
	}
	c.Ask(0, key)
}

func (w *churning) Answer(c *Client, _ Request, a Answer) {
	if a.Kind == '-' && !bytes.HasPrefix(a.Text, []byte("OOM ")) {
		c.wrong(a)
	}
	c.note(a)
	c.done()
}

// lookup finds a mix by its name.
func lookup(name string) (Mix, error) {
	if m, ok := Mixes[name]; ok {
		return m, nil
	}
	return nil, fmt.Errorf("there is no mix %q: there are %v", name, MixNames())
}
