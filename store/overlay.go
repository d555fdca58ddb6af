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
	entry       // as the key is to be; in no index and no queue
	gone  bool  // the key is to be deleted
	db    uint8 // of the key
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
		l.by, l.db, l.below = p, f.DB, sh.top(int(f.DB), f.Key)
		if l.below != nil {
			l.become(f, &l.below.entry, l.below.gone, tx.now)
		} else {
			e := sh.db(int(f.DB)).find(f.hash, f.Key)
			l.become(f, e, e == nil, tx.now)
		}
		l.slot = sh.slots[f.DB]
		f.Key, f.owned = bytesOf(l.key), true
		if f.Op == OpPut {
			f.Value = l.value
		}
		unlock := sh.lockLatched()
		sh.push(l)
		unlock()
	}
}

// become makes l what f makes of the entry beneath, which is nil where the key
// is not known, and gone where it is to be deleted.
func (l *layer) become(f *Effect, e *entry, gone bool, now int64) {
	l.hash, l.filed, l.place, l.deadline = f.hash, -1, inWindow, f.Deadline
	if f.Pinned {
		l.place = inPinned
	}
	if e != nil {
		l.key = e.key
	} else {
		l.key = string(f.Key)
	}
	if gone {
		l.access = newAccess(now)
	} else {
		l.value, l.encoding, l.access = e.value, e.encoding, e.access
	}
	switch f.Op {
	case OpPut:
		l.value, l.encoding = copied(f.Value), f.Encoding
	case OpDelete:
		l.gone, l.value = true, nil
	}
}

// seen is the entry that l shows, nil where the key is gone.
func (l *layer) seen() *entry {
	if l.gone {
		return nil
	}
	return &l.entry
}

func (sh *shard) push(l *layer) {
	if l.below != nil {
		l.below.above = l
	}
	if sh.held == nil {
		sh.held = make(map[watchKey]*layer)
	}
	sh.held[watchKey{l.db, l.key}] = l
}

// lift takes l out of the stack. Layers go from the bottom when they are
// committed, and from anywhere when they fail.
func (sh *shard) lift(l *layer) {
	switch {
	case l.above != nil:
		l.above.below = l.below
	case l.below != nil:
		sh.held[watchKey{l.db, l.key}] = l.below
	default:
		delete(sh.held, watchKey{l.db, l.key})
	}
	if l.below != nil {
		l.below.above = l.above
	}
	l.above, l.below = nil, nil
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
			if int(k.db) == db && sh.db(db).find(l.hash, bytesOf(k.key)) == nil && !visit(l) {
				return false
			}
		}
	}
	return true
}
