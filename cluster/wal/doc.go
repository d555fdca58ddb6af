// Package wal is a Raft log on disk: entries in a row, written by one write and
// put on disk by one sync.
//
// # How it works
//
// A Log is a directory of segments, files named by their first entry:
//
//	0000000000004e21.seg             header, entries, and whatever was there before
//	0000000000009c41.seg             the last one grows
//	0000000000000001-5ac1f0e3.spare  a segment whose entries are gone, to be used again
//
// Write encodes entries behind the last one, Sync puts on disk what was written, also
// while more is written, and Append does both. Files grow by zeros
// ahead of what is written, and segments are used again, because a sync that
// changes nothing about a file but its bytes is the cheapest there is.
//
// Each entry has a checksum that covers the one before it, and a segment's header
// that of the last entry of the segment before. So what an entry's place held in an
// earlier life never passes for what comes next, and no entry can be exchanged,
// or be missing in the middle, unseen.
//
// Open reads all of it. The log ends where the last segment has an entry that is not
// whole: that is how a write ends that a crash cut off, before Sync could return. Anywhere else that is damage, and an error. What it finds in the last
// segment it writes and syncs again before it returns: whoever wrote that may have been
// killed before the sync.
//
// Where the entries are is kept in memory: 16 bytes for each.
//
// # Caveats
//
// A bit that rots in the last segment looks like a write that was cut off: who
// needs to know must know by other means how far the log went.
//
// DeleteRange from the front gives room back by whole segments.
package wal
