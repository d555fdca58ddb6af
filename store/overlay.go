package store

// The overlay is what the store will be when all that is pending has been
// committed: a stack of layers for each key that a Pending holds. A Tx with
// Scope.Ahead evaluates on it, so that a key which many want to change commits
// as often as they ask, and not once for each answer of the log.
//
// A layer is what one Pending makes of one key. It begins with Hand, which puts
// it on top, and goes with Commit or Fail, from wherever it is by then. It is
// written with its shard's mutex held, read like everything in the shard, and
// only the access word changes in between.
type layer struct {
	e     *entry // as the key is to be; loose
	key   watchKey
	hash  uint64
	gone  bool // the key is to be deleted
	by    *Pending
	above *layer // the next change of the same key
	below *layer // the one before, if it is pending too
}

// cover makes p hold its keys. Keys and values are copied: what others evaluate
// on a layer outlives the command that made it.
func (tx *Tx) cover(p *Pending) {
	p.layers = make([]layer, len(p.Effects))
	for i := range p.Effects {
		f, l := &p.Effects[i], &p.layers[i]
		sh := tx.shard(f.hash)
		l.by, l.hash, l.below = p, f.hash, sh.top(int(f.DB), f.Key)
		if l.below != nil {
			l.become(f, l.below.seen(), sh.slots[f.DB], tx.now)
		} else {
			e, _ := sh.db(int(f.DB)).find(sh, f.hash, f.Key)
			l.become(f, e, sh.slots[f.DB], tx.now)
		}
		f.Key = l.e.key()
		l.key = watchKey{f.DB, stringOf(f.Key)}
		if f.Op == OpPut {
			f.Value = l.e.value()
		}
		unlock := sh.lockLatched()
		sh.push(l)
		unlock()
	}
}

// become makes l what f makes of the entry beneath, which is nil where there is
// none, or none any more.
func (l *layer) become(f *Effect, e *entry, slot uint8, now int64) {
	access, value, encoding := newAccess(now), f.Value, f.Encoding
	if e != nil {
		access = e.access
	}
	switch {
	case f.Op == OpDelete:
		l.gone, value = true, nil
	case f.Op == OpExpire && e != nil:
		value, encoding = e.value(), e.encoding()
	case f.Op == OpExpire:
		l.gone = true
	}
	p := inWindow
	if f.Pinned {
		p = inPinned
	}
	l.e = looseEntry(f.Key, value)
	l.e.access, l.e.deadline, l.e.where = access, f.Deadline, whereOf(slot, p, encoding)
}

// seen is the entry that l shows, nil where the key is gone.
func (l *layer) seen() *entry {
	if l.gone {
		return nil
	}
	return l.e
}

func (sh *shard) push(l *layer) {
	if l.below != nil {
		l.below.above = l
	}
	if sh.held == nil {
		sh.held = make(map[watchKey]*layer)
	}
	sh.held[l.key] = l
	sh.holds = true
}

// lift takes l out of the stack. Layers go from the bottom when they are
// committed, and from anywhere when they fail.
func (sh *shard) lift(l *layer) {
	switch {
	case l.above != nil:
		l.above.below = l.below
	case l.below != nil:
		sh.held[l.key] = l.below
	default:
		delete(sh.held, l.key)
		sh.countHeld()
	}
	if l.below != nil {
		l.below.above = l.above
	}
	l.above, l.below = nil, nil
}

// countHeld is when less is held than before.
func (sh *shard) countHeld() {
	sh.holds = len(sh.held) > 0 || sh.heldAll != nil
}

// top is the newest layer of a key, nil if nobody holds it.
func (sh *shard) top(db int, key []byte) *layer {
	if len(sh.held) == 0 {
		return nil
	}
	return sh.held[watchKey{uint8(db), string(key)}]
}

// meet is the layer that tx sees instead of the entry of a database of the store,
// nil if there is none, or if it has to see the entry.
func (tx *Tx) meet(sh *shard, db int, key []byte) *layer {
	if sh.heldAll != nil {
		tx.blocked, tx.beyond = sh.heldAll, true
		return nil
	}
	l := sh.top(db, key)
	if l == nil {
		return nil
	}
	tx.beyond = true
	if !tx.scope.Ahead {
		tx.blocked = l.by
		return nil
	}
	tx.built = true
	return l
}

// eachLayer visits the keys of a database of the store that only the overlay
// knows of, deleted ones too, until visit returns false, and says whether it
// never did.
func (tx *Tx) eachLayer(db int, visit func(l *layer) bool) bool {
	if !tx.scope.Ahead {
		return true
	}
	for i := range tx.s.shards {
		sh := &tx.s.shards[i]
		for k, l := range sh.held {
			if int(k.db) != db {
				continue
			}
			if e, _ := sh.db(db).find(sh, l.hash, bytesOf(k.key)); e == nil && !visit(l) {
				return false
			}
		}
	}
	return true
}
