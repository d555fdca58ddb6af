package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// device is the disk under a log, and knows what of it a loss of power spares:
// what was synced, and of the rest any of its sectors, and as many changes of
// names as there were up to some moment.
type device struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	files []*inode
	names []map[string]*inode // of the directory: first what is on disk, then after each change
	done  func()              // what the step before has on disk when it has ended

	steps    int  // until the process is killed
	killed   bool // nothing is done any more
	refusing int  // of a hundred steps so many fail
	broken   bool // a sync has failed: nobody goes on before the next start
}

// inode is a file whatever its name, kept open that no other one passes for it.
type inode struct {
	f      *os.File
	info   os.FileInfo
	synced []byte
	lost   []byte // content when a sync failed: the kernel does not try to write that again
}

const sector = 512

// sync is what a sync that succeeds has on disk.
func (i *inode) sync(b []byte) {
	for at := 0; at < min(len(b), len(i.lost)); at += sector {
		if now := b[at:min(at+sector, len(b))]; bytes.Equal(now, i.lost[at:min(at+sector, len(i.lost))]) {
			clear(now)
			copy(now, i.synced[min(at, len(i.synced)):])
		}
	}
	i.synced = b
}

var (
	errKilled = errors.New("killed")
	errSync   = errors.New("sync failed")
)

func (d *device) content(i *inode) []byte {
	b, err := io.ReadAll(io.NewSectionReader(i.f, 0, 1<<30))
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// see notes what has become of the directory.
func (d *device) see() map[string]*inode {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	now := map[string]*inode{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			d.t.Fatal(err)
		}
		i := slices.IndexFunc(d.files, func(i *inode) bool { return os.SameFile(i.info, info) })
		if i < 0 {
			f, err := os.Open(filepath.Join(d.dir, e.Name()))
			if err != nil {
				d.t.Fatal(err)
			}
			d.files = append(d.files, &inode{f: f, info: info})
			i = len(d.files) - 1
		}
		now[e.Name()] = d.files[i]
	}
	if n := len(d.names); n == 0 || !maps.Equal(d.names[n-1], now) {
		d.names = append(d.names, now)
	}
	return now
}

func (d *device) settle() map[string]*inode {
	now := d.see()
	if d.done != nil {
		d.done()
		d.done = nil
	}
	return now
}

// step is Options.step.
func (d *device) step(op, path string) error {
	if d.killed {
		return errKilled
	}
	now := d.settle()
	if d.steps--; d.steps == 0 {
		d.killed = true
		return errKilled
	}
	i := now[filepath.Base(path)]
	if i == nil {
		i = now[filepath.Base(path)+newSuffix]
	}
	fails := d.refusing > 0 && d.r.IntN(100) < d.refusing
	switch op {
	case "sync", "sync directory":
		if fails && d.r.IntN(4) == 0 {
			d.broken = true
			if i != nil {
				i.lost = d.content(i)
			}
			return errSync
		}
	default:
		if fails {
			return &os.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
		}
	}
	switch op {
	case "write":
		d.done = func() {
			if i != nil {
				i.lost = nil // it is only written to again by who begins anew, and then all of it
			}
		}
	case "sync":
		d.done = func() { i.sync(d.content(i)) }
	case "sync directory":
		d.done = func() { d.names = d.names[len(d.names)-1:] }
	}
	return nil
}

// sync is Options.Sync: it may find no room for what it does itself, once the file
// is synced or before.
func (d *device) sync(string, *os.File, int64, int64) error {
	if d.refusing == 0 || d.r.IntN(100) >= d.refusing {
		return nil
	}
	if d.r.IntN(2) == 0 {
		d.done = nil
	}
	return syscall.ENOSPC
}

// losePower leaves of the directory what a loss of power may.
func (d *device) losePower() {
	d.settle()
	left := map[string][]byte{}
	for name, i := range d.names[d.r.IntN(len(d.names))] {
		written := d.content(i)
		b := make([]byte, []int{len(i.synced), len(written)}[d.r.IntN(2)])
		copy(b, i.synced)
		likely := d.r.IntN(5)
		for at := 0; at < len(b) && at < len(written); at += sector {
			if d.r.IntN(4) < likely {
				copy(b[at:min(at+sector, len(b))], written[at:])
			}
		}
		left[name] = b
	}
	d.forget()
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
	for name, b := range left {
		if err := os.WriteFile(filepath.Join(d.dir, name), b, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, i := range d.see() {
		i.synced = d.content(i)
	}
}

func (d *device) forget() {
	for _, i := range d.files {
		i.f.Close()
	}
	d.files, d.names, d.done = nil, nil, nil
}

// run starts the process anew.
func (d *device) run(opt Options) (*Log, error) {
	d.killed, d.broken, d.done = false, false, nil
	opt.Sync, opt.step = d.sync, d.step
	return Open(d.dir, opt)
}

// ledger is what a log has to hold, and what it may.
type ledger struct {
	all     []*raft.Log // that were never deleted, or from the front: these may be found again
	from    int         // those before it were deleted
	refused [][]*raft.Log
}

func (k *ledger) want() []*raft.Log { return k.all[k.from:] }

// may says whether a log may hold these after a crash, if those before the index
// least are all that it must.
func (k *ledger) may(found []*raft.Log, least int) bool {
	if len(found) == 0 {
		return least <= k.from
	}
	first := found[0].Index
	n := 0 // of those found are in all; after some that were deleted there may be what was refused in their place
	if len(k.all) > 0 && first >= k.all[0].Index {
		at := int(first - k.all[0].Index)
		if at > k.from || at >= len(k.all) {
			return len(k.want()) == 0 && k.wasRefused(found)
		}
		for n < len(found) && at+n < len(k.all) && same(found[n], k.all[at+n]) {
			n++
		}
		if at+n < least {
			return false
		}
	} else if least > k.from {
		return false
	}
	return n == len(found) || k.wasRefused(found[n:])
}

func (k *ledger) wasRefused(more []*raft.Log) bool {
	return slices.ContainsFunc(k.refused, func(r []*raft.Log) bool { return prefix(more, r) })
}

// A process that is killed, a loss of power, a full disk, at any step of whatever
// is done: the log is what it was or what it was to become. What was found at a
// start is there for good.
func TestPowerLoss(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	crashes := 400
	if testing.Short() {
		crashes = 80
	}
	r := rand.New(rand.NewPCG(seed, 0))
	opt := Options{SegmentBytes: 4 << 10}
	d := &device{t: t, r: r, dir: filepath.Join(t.TempDir(), "log")}
	defer d.forget()
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var k ledger
	synced := 0 // so many of k.all; those after were written
	l, err := d.run(opt)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(1 + r.IntN(100))
	for crashes > 0 {
		if d.steps <= 0 {
			d.steps = 1 + r.IntN(40)
			d.refusing = []int{0, 0, 5, 30}[r.IntN(4)]
		}
		least := synced
		var err error
		op := ""
		switch n, c := len(k.want()), r.IntN(16); {
		case c == 0 && n > 0:
			op = "front"
			cut := 1 + r.IntN(n)
			first, last := k.want()[0].Index, k.want()[cut-1].Index
			if cut == n {
				op, least = "all", k.from
			} else {
				k.from += cut // and what is deleted need not be on disk
			}
			if err = l.DeleteRange(first, last); op == "all" && err == nil {
				k, synced = ledger{refused: k.refused}, 0
				next += r.Uint64N(3)
			}
		case c == 1 && n > 0:
			op = "back"
			cut := r.IntN(n)
			least = min(synced, k.from+cut)
			next = k.want()[cut].Index
			if err = l.DeleteRange(next, k.all[len(k.all)-1].Index); err == nil {
				k.all = k.all[:k.from+cut]
				if synced = len(k.all); cut == 0 {
					k.all, k.from, synced = nil, 0, 0
				}
			}
		case c == 2:
			op = "sync"
			if err = l.Sync(); err == nil {
				synced = len(k.all)
			} else {
				d.broken = true
			}
		default:
			op = "append"
			add := l.Append
			if c > 6 {
				op, add = "write", l.Write
			}
			more := batch(r, next, 1+r.IntN(4), []int{0, 1, 100, 100, 900, 3000, 6000}[r.IntN(7)])
			var why *os.PathError
			if err = add(more); err == nil {
				if k.all = append(k.all, more...); op == "append" {
					synced = len(k.all)
				}
			} else if !errors.As(err, &why) {
				k.refused = append(k.refused, more) // or not: in doubt
				d.broken = true
			}
		}
		if d.killed || d.broken {
			crashes--
			l.Close()
			power := r.IntN(2) == 0
			if power {
				d.losePower()
			}
			d.steps, d.refusing = 0, 0
			if l, err = d.run(opt); err != nil {
				t.Fatalf("%s, power lost %v: %v", op, power, err)
			}
			found := held(t, l)
			if !k.may(found, least) {
				t.Fatalf("%s, power lost %v: %s were found, there were %s and %d of them at least", op, power, span(found), span(k.all), least-k.from)
			}
			synced = len(found)
			if k = (ledger{all: found, refused: k.refused}); r.IntN(2) == 0 {
				l.Close()
				d.losePower()
				if l, err = d.run(opt); err != nil {
					t.Fatalf("%s, at the start: %v", op, err)
				}
				if again := held(t, l); len(again) != len(found) || !prefix(found, again) {
					t.Fatalf("%s, power lost at the start: %s were there, and then %s", op, span(found), span(again))
				}
			}
		} else if err != nil { // some of it may have been done
			all := held(t, l)
			if op != "back" && op != "all" && len(all) != len(k.want()) || k.from+len(all) < least || !prefix(all, k.want()) {
				t.Fatalf("%s: %v, and %s are left of %s", op, err, span(all), span(k.want()))
			}
			k.all = k.all[:k.from+len(all)]
			if synced = min(synced, len(k.all)); len(all) == 0 {
				k.all, k.from, synced = nil, 0, 0
			}
		}
		if len(k.all) > 0 {
			next = k.all[len(k.all)-1].Index + 1
		}
		holds(t, l, k.want())
	}
	l.Close()
}

// span says which entries these are.
func span(all []*raft.Log) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d to %d", all[0].Index, all[len(all)-1].Index)
}
