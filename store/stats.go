package store

// Stats is the store in numbers.
type Stats struct {
	DBs [NumDBs]DBStats

	Hits, Misses     int64 // since ResetStats, as the next two
	Expired, Evicted int64

	PinnedEntries, CachedEntries int
	PinnedBytes, CachedBytes     int64

	WindowEntries, MainEntries int   // of the cached: on probation, read on probation
	WindowBytes, MainBytes     int64 //
	// Entries since the start that left the window for main, that nobody had
	// read when they left the window, and that were read least of main.
	Promoted, Unread, Displaced int64

	UsedBytes, PeakBytes int64
	// Of the memory that the collector does not see: what entries, indexes and
	// deadlines take, and what the kernel has given for them.
	AllocatedBytes, ResidentBytes int64
	MaxBytes                      int64 // 0 = no limit
	Policy                        Policy
}

// DBStats is one database in numbers. Keys counts what has expired and is not
// yet swept, as Redis does.
type DBStats struct {
	Keys, Expires int
	AvgTTL        int64 // ms, estimated from a sample
}

const ttlSample = 16 // deadlines looked at in each shard

// Stats adds up the shards. Each is seen at its own moment.
func (s *Store) Stats() Stats {
	var st Stats
	var ttls, sampled [NumDBs]int64
	now := s.now()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for db := range st.DBs {
			slot := sh.slots[db]
			st.DBs[db].Keys += sh.indexes[slot].len()
			st.DBs[db].Expires += sh.volatile[slot]
		}
		stride := sh.deadlines.n/ttlSample + 1
		for n := 0; n < sh.deadlines.n; n += stride {
			e := sh.at(sh.deadlines.filing(n).r)
			db := sh.dbOf(e.slot())
			ttls[db] += max(e.deadline-now, 0)
			sampled[db]++
		}
		st.Hits += sh.tally.hits
		st.Misses += sh.tally.misses
		st.Expired += sh.tally.expired
		st.Evicted += sh.tally.evicted
		st.PinnedEntries += sh.count[inPinned]
		st.WindowEntries += sh.count[inWindow]
		st.MainEntries += sh.count[inMain]
		st.PinnedBytes += sh.bytes[inPinned]
		st.WindowBytes += sh.bytes[inWindow]
		st.MainBytes += sh.bytes[inMain]
		st.AllocatedBytes += sh.space.Allocated()
		st.ResidentBytes += sh.space.Resident()
		sh.mu.Unlock()
	}
	for db := range st.DBs {
		if sampled[db] > 0 {
			st.DBs[db].AvgTTL = ttls[db] / sampled[db]
		}
	}
	st.CachedEntries = st.WindowEntries + st.MainEntries
	st.CachedBytes = st.WindowBytes + st.MainBytes
	st.Promoted, st.Unread, st.Displaced = s.cache.promoted.Load(), s.cache.unread.Load(), s.cache.displaced.Load()
	st.UsedBytes = st.PinnedBytes + st.CachedBytes
	st.PeakBytes = max(s.peak.Load(), st.UsedBytes)
	c := s.cfg.Load()
	st.MaxBytes, st.Policy = c.MaxMemory, c.Policy
	return st
}

// UsedBytes is what maxmemory is compared with. While writes go on it is off by
// a little: see tell.
func (s *Store) UsedBytes() int64 { return s.used.Load() }

// ResetStats begins counting anew: hits, misses, expired and evicted.
func (s *Store) ResetStats() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.tally = tally{}
		sh.mu.Unlock()
	}
}
