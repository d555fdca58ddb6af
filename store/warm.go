package store

import "unsafe"

// Warm has the processor fetch what the store holds of keys that Tx is about to
// look at, all at once: one after the other each would wait for memory two or
// three times. It changes nothing and need not be called.
func (tx *Tx) Warm(keys [][]byte) {
	var hashes [warmAtOnce]uint64
	var refs [warmAtOnce]ref
	for len(keys) > 0 {
		n := min(len(keys), warmAtOnce)
		// No load of a loop waits for another one of it, so that they are under
		// way together.
		seen := 0
		for i, key := range keys[:n] {
			hashes[i] = tx.s.hash(key)
			if l := tx.bucket(hashes[i]); l != nil {
				seen += int(l.more)
			}
		}
		for i, hash := range hashes[:n] {
			if refs[i] = 0; tx.bucket(hash) != nil {
				refs[i] = tx.bucket(hash).guess(hash)
			}
			if refs[i] != 0 {
				seen += int(tx.shard(hash).at(refs[i]).klen)
			}
		}
		for i, hash := range hashes[:n] {
			if refs[i] != 0 {
				e := tx.shard(hash).at(refs[i])
				seen += int(*(*byte)(unsafe.Add(unsafe.Pointer(e), e.size()-1)))
			}
		}
		tx.warmed = seen // or the compiler might leave it all out
		keys = keys[n:]
	}
}

const warmAtOnce = 32

// bucket is where most likely to look for a key of a hash.
func (tx *Tx) bucket(hash uint64) *bucket {
	ix := tx.shard(hash).db(tx.db)
	if ix.main.buckets == nil {
		return nil
	}
	return &ix.main.buckets[ix.main.bucket(hash)]
}

// guess is the entry that is most likely the one of a hash, 0 if there is none.
func (l *bucket) guess(hash uint64) ref {
	tag := tagOf(hash)
	for i, t := range l.tags {
		if t == tag {
			return l.refs[i]
		}
	}
	return 0
}
