package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"
)

// Restore puts a snapshot in the place of all there is, the cached side
// included. It does so when it has read and believed everything: after an error
// the store is as it was. Until then there is memory for both. It waits for
// latches, so nobody who holds one may be waiting for the caller. Watchers are
// told; observers hear of a flush.
func (s *Store) Restore(r io.Reader) error {
	fresh, clock, err := s.read(r)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s.hold(AllShards)
	for i := range s.shards {
		sh := &s.shards[i]
		sh.preserveAll()
		s.touchWhere(sh, func(*entry) bool { return true })
		s.forgetAll(sh)
		s.wipe(sh)
		sh.take(&fresh[i])
		s.tell(sh, 0)
	}
	s.clock.Store(clock)
	if o := s.observer.Load(); o != nil {
		(*o).Applied([]Effect{{Op: OpFlush, DB: AllDBs}})
	}
	s.give(AllShards)
	s.cache.kick()
	s.sweeper.kick()
	return nil
}

// take moves what a fresh shard holds into one that was wiped.
func (sh *shard) take(fresh *shard) {
	if empty := sh.space; empty.Mapped() {
		sh.spares = append(sh.spares, &empty)
	}
	sh.space = fresh.space
	sh.slots, sh.indexes, sh.volatile = fresh.slots, fresh.indexes, fresh.volatile
	sh.deadlines, sh.bytes, sh.count = fresh.deadlines, fresh.bytes, fresh.count
}

// read builds the shards that a snapshot tells of.
func (s *Store) read(from io.Reader) (_ *[numShards]shard, _ *heard, err error) {
	r := snapshotReader{r: from}
	if err := r.magic(); err != nil {
		return nil, nil, err
	}
	var clock *heard
	var effects []Effect
	built := rebuild{s: s, shards: new([numShards]shard)}
	built.init(s.now())
	defer func() {
		if err != nil {
			built.close()
		}
	}()
	for number := 1; ; number++ {
		b := r.block()
		if b == nil {
			break
		}
		kind, body, err := openEntry(b)
		if err == nil && kind == KindClock && number == 1 {
			var c Clock
			c, err = parseClock(body)
			clock = &heard{c.Now, time.Now()}
		} else if err == nil && kind != KindEffects {
			err = fmt.Errorf("entry of kind %d: %w", kind, ErrMalformed)
		} else if err == nil {
			effects, err = parseEffects(effects[:0], body)
		}
		for i := 0; err == nil && i < len(effects); i++ {
			err = built.add(&effects[i])
		}
		if err != nil {
			return nil, nil, fmt.Errorf("block %d, before byte %d: %w", number, r.n, err)
		}
	}
	if err := r.end(built.count); err != nil {
		return nil, nil, fmt.Errorf("after %d keys and %d bytes: %w", built.count, r.n, err)
	}
	return built.shards, clock, nil
}

// rebuild is the shards as far as a snapshot has been read.
type rebuild struct {
	s      *Store
	shards *[numShards]shard
	count  uint64
	last   *entry // the order of keys proves that there are no two of them
	lastDB uint8
}

func (n *rebuild) init(now int64) {
	for i := range n.shards {
		sh := &n.s.shards[i]
		n.shards[i].init(i, sh.seed)
		n.shards[i].now = now
		sh.mu.Lock()
		n.shards[i].gen = sh.gen
		if last := len(sh.spares) - 1; last >= 0 { // or each Restore would leave one more
			n.shards[i].space, sh.spares = *sh.spares[last], sh.spares[:last]
		}
		sh.mu.Unlock()
	}
}

func (n *rebuild) close() {
	for i := range n.shards {
		n.shards[i].space.Close()
	}
}

func (n *rebuild) add(f *Effect) error {
	if f.Op != OpPut {
		return fmt.Errorf("op %d in a snapshot: %w", f.Op, ErrMalformed)
	}
	if n.last != nil && (f.DB < n.lastDB || f.DB == n.lastDB && string(f.Key) <= string(n.last.key())) {
		return fmt.Errorf("key %.40q of database %d is not in order: %w", f.Key, f.DB, ErrMalformed)
	}
	hash := n.s.hash(f.Key)
	sh := &n.shards[hash&(numShards-1)]
	r, e := sh.create(f.DB, hash, f)
	n.last, n.lastDB = e, f.DB
	sh.setDeadline(r, e, f.Deadline)
	n.count++
	return nil
}

// snapshotReader takes a snapshot apart and remembers its first error.
type snapshotReader struct {
	r   io.Reader
	buf []byte
	n   int64
	sum uint32 // of all that was read
	err error
}

func (r *snapshotReader) magic() error {
	got := r.read(nil, len(magic))
	name, version := len(magic)-1, got[len(magic)-1]
	switch {
	case r.err != nil:
		return r.err
	case string(got) == magic:
		return nil
	case string(got[:name]) == magic[:name] && version > magic[name]:
		return fmt.Errorf("version %d: %w", version, ErrNewer)
	}
	return fmt.Errorf("it begins with %q: %w", got, ErrMalformed)
}

// block is the next entry, nil after the last and after an error. It is valid
// until the next call.
func (r *snapshotReader) block() []byte {
	head := r.read(r.buf[:0], lengthBytes)
	if r.err != nil {
		return nil
	}
	length := binary.LittleEndian.Uint32(head)
	if length == 0 {
		return nil
	}
	r.buf = r.read(r.buf[:0], int(length))
	if r.err != nil {
		return nil
	}
	return r.buf
}

// read appends n bytes to b; after an error they mean nothing.
func (r *snapshotReader) read(b []byte, n int) []byte {
	for n > 0 && r.err == nil {
		step := min(n, readStep)
		b = slices.Grow(b, step)
		chunk := b[len(b) : len(b)+step]
		got, err := io.ReadFull(r.r, chunk)
		r.n += int64(got)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrTruncated
		}
		r.err = err
		r.sum = crc32.Update(r.sum, castagnoli, chunk)
		b = b[:len(b)+step]
		n -= step
	}
	return b
}

// end reads what follows the last block, and makes sure that nothing is missing
// and nothing is left.
func (r *snapshotReader) end(count uint64) error {
	b := r.read(nil, countBytes)
	sum := r.sum
	b = r.read(b, sumBytes)
	if r.err != nil {
		return r.err
	}
	if binary.LittleEndian.Uint32(b[countBytes:]) != sum {
		return ErrDamaged
	}
	if told := binary.LittleEndian.Uint64(b); told != count {
		return fmt.Errorf("%d keys were to come: %w", told, ErrMalformed)
	}
	if n, _ := io.ReadFull(r.r, make([]byte, 1)); n > 0 {
		return fmt.Errorf("it goes on after its end: %w", ErrMalformed)
	}
	return nil
}
