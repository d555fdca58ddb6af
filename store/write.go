package store

// Put is what a key is to hold.
type Put struct {
	Value    []byte // the caller's, unchanged until the Tx ends
	Deadline int64  // unix ms, 0 = none; one in the past is the caller's to turn into a Delete
	Encoding Encoding
	Sure     bool // a conditional write or a change in place: pins
}

// Put records that key holds what p says, in place of whatever it held.
func (tx *Tx) Put(key []byte, p Put) { tx.PutIn(tx.db, key, p) }

// PutIn is Put in another database.
func (tx *Tx) PutIn(db int, key []byte, p Put) {
	hash := tx.s.hash(key)
	old, live, stored, at := tx.look(db, key, hash)
	if live {
		if stored != nil && tx.looked != hash {
			tx.touch(stored, hash)
		}
	} else {
		tx.buried(stored, at, db, key)
		tx.notify(ClassNew, db, "new", key)
	}
	f := Effect{
		Op: OpPut, DB: uint8(db), Key: key, Value: p.Value,
		Deadline: p.Deadline, Encoding: p.Encoding,
		Pinned: tx.pins(key, live && old.Pinned, p.Deadline, p.Sure),
		hash:   hash, hashed: true,
	}
	tx.fold(at, stored, &f)
}

// Expire records a new deadline for key, which must exist; 0 takes it away.
// sure pins the key, as PERSIST does.
func (tx *Tx) Expire(key []byte, deadline int64, sure bool) {
	hash := tx.s.hash(key)
	old, live, stored, at := tx.look(tx.db, key, hash)
	if !live {
		panic("store: Expire of a key that does not exist")
	}
	pinned := old.Pinned
	if sure || tx.scope.PinAll || pinned {
		pinned = tx.pins(key, old.Pinned, deadline, true)
	}
	f := Effect{
		Op: OpExpire, DB: uint8(tx.db), Key: key, Deadline: deadline, Pinned: pinned,
		hash: hash, hashed: true,
	}
	// Put by this Tx, or cached so far and known to no other node: the value
	// has to go with it.
	if stored == nil || pinned && stored.place() != inPinned {
		tx.lend(stored, hash)
		f.Op, f.Value, f.Encoding = OpPut, old.Value, old.Encoding
	}
	tx.fold(at, stored, &f)
}

// Delete records that key is gone, and says whether it existed.
func (tx *Tx) Delete(key []byte) bool { return tx.DeleteIn(tx.db, key) }

// DeleteIn is Delete in another database.
func (tx *Tx) DeleteIn(db int, key []byte) bool {
	hash := tx.s.hash(key)
	_, live, stored, at := tx.look(db, key, hash)
	if !live {
		if stored == nil && at < 0 {
			return false
		}
		tx.buried(stored, at, db, key)
	}
	tx.fold(at, stored, &Effect{Op: OpDelete, DB: uint8(db), Key: key, hash: hash, hashed: true})
	return live
}

// buried tells of a key that a write finds expired before the sweeper has.
func (tx *Tx) buried(stored *entry, at, db int, key []byte) {
	if stored != nil && at < 0 {
		tx.notify(ClassExpired, db, "expired", key)
	}
}

// fold makes f the one effect on its key, in place of the one at a position,
// if there is one, and above the stored entry otherwise.
func (tx *Tx) fold(at int, stored *entry, f *Effect) {
	if at >= 0 {
		f.wasPinned = tx.effects[at].wasPinned
	} else {
		f.wasPinned = stored != nil && stored.place() == inPinned
	}
	f.Local = !f.wasPinned && !f.Pinned
	if at < 0 {
		tx.record(f)
		return
	}
	tx.bytes += f.bytes() - tx.effects[at].bytes()
	f.chain = tx.effects[at].chain
	tx.effects[at] = *f
}

// pins decides the kind of a write: true is pinned. The rules in order, each
// for the keys that the earlier ones leave open.
func (tx *Tx) pins(key []byte, wasPinned bool, deadline int64, sure bool) bool {
	c := tx.s.cfg.Load()
	switch {
	case c.Cache != nil && c.Cache(key):
		return false
	case c.Pin != nil && c.Pin(key):
		return true
	case wasPinned: // until it is deleted or expires
		return true
	case c.Policy == NoEviction:
		return true
	case tx.scope.PinAll || sure:
		return true
	case deadline == 0:
		return c.Policy != AllKeysLFU
	}
	return false
}
