package store

import "math/rand/v2"

// Len is how many live keys the current database has. Where thousands of a
// shard's keys have expired at once and are being deleted, those that are left
// count as well: nobody waits while they are told apart.
func (tx *Tx) Len() int {
	tx.needAll()
	n := 0
	if db, ok := tx.beneath(); ok {
		for i := range tx.s.shards {
			sh := &tx.s.shards[i]
			var dead [NumDBs]int
			sh.deadlines.countExpired(sh, tx.now, countedExpired, &dead)
			slot := sh.slots[db]
			n += sh.indexes[slot].len() - dead[slot]
		}
		n += tx.lenPending(db)
	}
	for i := range tx.effects {
		f := &tx.effects[i]
		if int(f.DB) != tx.db {
			continue
		}
		if e := tx.underlying(tx.db, f.Key, f.hash); e != nil && !expired(e.deadline, tx.now) {
			n--
		}
		if _, live, _, _ := tx.look(tx.db, f.Key, f.hash); live {
			n++
		}
	}
	return n
}

// lenPending is by how many the live keys of a database of the store become more
// when what is pending is committed, as far as this Tx sees it.
func (tx *Tx) lenPending(db int) int {
	if !tx.scope.Ahead {
		return 0
	}
	n := 0
	for i := range tx.s.shards {
		sh := &tx.s.shards[i]
		for k, l := range sh.held {
			if int(k.db) != db {
				continue
			}
			if e, _ := sh.db(db).find(sh, l.hash, bytesOf(k.key)); e != nil && !expired(e.deadline, tx.now) {
				n--
			}
			if !l.gone && !expired(l.e.deadline, tx.now) {
				n++
			}
		}
	}
	return n
}

// countedExpired is how many of a shard's expired entries Len tells apart.
const countedExpired = 1000

// beneath is the database of the store under the current one, if it has not
// been flushed.
func (tx *Tx) beneath() (int, bool) {
	if tx.flushed&(1<<tx.db) != 0 {
		return 0, false
	}
	if len(tx.swaps) > 0 {
		return int(tx.base[tx.db]), true
	}
	return tx.db, true
}

// Scan visits some live keys of the current database, about count of them, and
// returns the cursor for the next call, 0 when the walk is complete. A key that
// is there from the first call to the last is visited at least once; it may be
// visited twice. Keys are valid until the Tx ends.
//
// A cursor is a bucket cursor above the number of the shard. It stays below
// 2^53, because clients keep it in a double.
func (tx *Tx) Scan(cursor uint64, count int, visit func(key []byte, e Entry)) (next uint64) {
	tx.needAll()
	tx.lendAll()
	if cursor == 0 {
		tx.eachNew(func(key []byte, e Entry) bool { visit(key, e); return true })
	}
	db, ok := tx.beneath()
	if !ok {
		return 0
	}
	seen := 0
	see := func(e *entry) {
		if key, v, live := tx.seen(e); live {
			visit(key, v)
		}
		seen++
	}
	// Empty buckets cost a step too: as in Redis, ten for each key asked for.
	steps := 10 * max(count, 1)
	shard, bucket := int(cursor&(numShards-1)), cursor>>shardBits
	for {
		sh := &tx.s.shards[shard]
		bucket = sh.db(db).scan(sh, bucket, see)
		if bucket == 0 {
			if shard++; shard == numShards {
				return 0
			}
		}
		if steps--; seen >= count || steps <= 0 {
			return bucket<<shardBits | uint64(shard)
		}
	}
}

// seen is a stored entry as this Tx sees it.
func (tx *Tx) seen(e *entry) (key []byte, v Entry, live bool) {
	key = e.key()
	if len(tx.effects) == 0 && !tx.built {
		return key, e.view(), !expired(e.deadline, tx.now)
	}
	v, live, _, _ = tx.look(tx.db, key, tx.s.hash(key))
	return key, v, live
}

// eachNew visits the live keys of the current database that are in no index,
// until visit returns false, and says whether it never did.
func (tx *Tx) eachNew(visit func(key []byte, e Entry) bool) bool {
	db, ok := tx.beneath()
	for i := range tx.effects {
		f := &tx.effects[i]
		if f.Op != OpPut || int(f.DB) != tx.db || expired(f.Deadline, tx.now) {
			continue
		}
		if ok && tx.knows(db, f.Key, f.hash) {
			continue // it comes with the others
		}
		if !visit(f.Key, Entry{f.Value, f.Deadline, f.Pinned, f.Encoding}) {
			return false
		}
	}
	return !ok || tx.eachLayer(db, func(l *layer) bool {
		key, v, live := tx.seen(l.e)
		return !live || visit(key, v)
	})
}

// knows says whether a database of the store has a key, or will have had it.
func (tx *Tx) knows(db int, key []byte, hash uint64) bool {
	sh := tx.shard(hash)
	e, _ := sh.db(db).find(sh, hash, key)
	return e != nil || tx.scope.Ahead && sh.top(db, key) != nil
}

// Each visits every live key of the current database until visit returns
// false. visit must not write. Keys are valid until the Tx ends.
func (tx *Tx) Each(visit func(key []byte, e Entry) bool) {
	tx.needAll()
	tx.lendAll()
	if !tx.eachNew(visit) {
		return
	}
	db, ok := tx.beneath()
	if !ok {
		return
	}
	for i := range tx.s.shards {
		sh := &tx.s.shards[i]
		whole := sh.db(db).each(sh, func(_ ref, e *entry) bool {
			key, v, live := tx.seen(e)
			return !live || visit(key, v)
		})
		if !whole {
			return
		}
	}
}

const randomTries = 100

// RandomKey is a random live key of the current database.
func (tx *Tx) RandomKey() ([]byte, bool) {
	tx.needAll()
	tx.lendAll()
	db, ok := tx.beneath()
	if ok && len(tx.effects) == 0 {
		total := 0
		for i := range tx.s.shards {
			total += tx.s.shards[i].db(db).len()
		}
		if total == 0 && !tx.built {
			return nil, false
		}
		for range min(randomTries, total) {
			// A shard by its share of the keys, then a bucket of it.
			n, i := rand.IntN(total), 0
			for ; n >= tx.s.shards[i].db(db).len(); i++ {
				n -= tx.s.shards[i].db(db).len()
			}
			sh := &tx.s.shards[i]
			if e := sh.db(db).random(sh); e != nil {
				if key, _, live := tx.seen(e); live {
					return key, true
				}
			}
		}
	}
	// Nearly everything has expired, or this Tx has effects: look at all.
	n := 0
	var picked []byte
	tx.Each(func(key []byte, _ Entry) bool {
		if n++; rand.IntN(n) == 0 {
			picked = key
		}
		return true
	})
	return picked, n > 0
}
