// Package cluster makes pinned keys survive: effects become entries of a Raft
// log, on disk before anybody is told that they happened.
//
// # How it works
//
// One Node owns one data directory and one store. Whoever evaluates hands in a
// store.Pending; the queue packs everything that waits into one entry while the
// entry before it is on its way, so that many writers share one sync:
//
//	Propose → queue → one raft.Apply at a time → log on disk → fsm → Store.Commit
//
// The fsm knows the entry in flight by its origin, which travels with it, and
// commits its Pendings. Any other entry, at start or from another leader, goes
// through Store.ApplyEntry. Leadership opens the gate: a Barrier is applied
// first, so that everything an earlier term committed is in the store.
//
// # The directory
//
//	lock         held while a process uses the directory
//	meta         version of this layout, node id, whether the first start was completed
//	log.bolt     the Raft log, term and vote (bbolt)
//	log.tail     the last index that was synced; itself not synced
//	snapshots/   the latest snapshot
//	room.tmp     there for a moment, to see whether a full disk has room again
//
// bbolt undoes a torn last write by itself. Everything else is under a checksum
// of ours: each entry with its index and term, term and vote, what raft says
// about a snapshot, the snapshot's blocks. The whole log is read and believed
// before raft sees it. What cannot be believed ends the start with ErrDamaged;
// nothing is dropped, nothing is repaired.
//
// # When the disk fails
//
// A full disk fails what is proposed, with ErrDiskFull, and the node goes on by
// itself once there is room: a refused write has changed nothing. After any other
// failure to write or to sync nobody knows what the disk holds, and a later sync
// that succeeds proves nothing; proposals fail until the process is restarted
// and reads the log again. Reads are served throughout.
//
// # Caveats
//
// There are no peers yet: the cluster has one node.
//
// A disk that hangs, without an error, makes its proposals wait.
//
// A start writes to the log, so it is refused while the disk is full. The log's
// file never shrinks: it stays as large as the log was between two snapshots.
//
// Close gives what is in flight closeWithin to land; then it is in doubt.
package cluster
