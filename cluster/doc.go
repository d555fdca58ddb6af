// Package cluster makes pinned keys survive: effects become entries of a Raft
// log, on disk before anybody is told that they happened.
//
// # How it works
//
// One Node owns one data directory and one store. Whoever evaluates hands in a
// store.Pending; the queue packs everything that waits into one entry while the
// entry before it is on its way, so that many writers share one sync:
//
//	Propose → queue → one raft.Apply at a time → log → fsm, once on disk → Store.CommitAll
//
// The leader's disk and the followers' work on an entry at the same time: flusher
// says what has to wait for the leader's own.
//
// The fsm knows the entry in flight by its origin, which travels with it, and
// commits its Pendings. Any other entry, at start or from another leader, goes
// through Store.ApplyEntry. The origin also names the term in which the entry was
// evaluated: appended in another one, it is applied nowhere.
//
// # Leadership
//
// Nodes talk through one port each (package peer); raft has its streams there, by
// way of the transport. Only the node whose gate is open evaluates. Lead says
// whose that is, Changed when it is another one. To open it, runGate
//
//	waits for a Barrier        all that was committed before is applied
//	Store.Follow               nothing is cached from an earlier term
//	commits TakeOver           no deadline comes early by our clock, and the Clock holds
//	Store.Lead, opens the queue
//
// Whoever knows a reason shuts it, first of all: raft has lost, a later leader is
// heard, the disk does not answer, somebody else is to take over. What waits is
// refused then, what is in flight is in doubt.
//
// Verify makes sure that reads are not answered by a leader that was overtaken:
// lease.go says how, promise.go what followers do for it.
//
// forming.go says how nodes come together, and how one that has lost its disk
// comes back; recover.go what to do when a majority is lost.
//
// # The directory
//
//	lock         held while a process uses the directory
//	meta         version of this layout, node id, cluster id, how far the node is a member
//	log/         the Raft log (package wal)
//	log.tail     the last index that was synced; itself synced only before a cut
//	term         term and vote
//	snapshots/   the latest snapshot
//	addresses    where other nodes were last; may be lost
//	peers.json   put there by people, who the members are when most are lost
//	room.tmp     there for a moment, to see whether a full disk has room again
//
// A last write that was torn is not part of the log. Everything is under a checksum:
// each entry with its index and term, term and vote, what raft says about a
// snapshot, the snapshot's blocks. The whole log is read and believed before raft
// sees it. What cannot be believed ends the start with ErrDamaged; nothing is
// dropped, nothing is repaired. An end that is missing is told from one that was torn
// by log.tail; after a loss of power that may be older.
//
// # When the disk fails
//
// A full disk fails what is proposed, with ErrDiskFull, and the node goes on by
// itself once there is room: a refused write has changed nothing. After any other
// failure to write or to sync nobody knows what the disk holds, and a later sync
// that succeeds proves nothing; proposals fail until the process is restarted
// and reads the log again. Alone, reads are served throughout. Where there are
// other nodes, one of them leads instead: soon after an error, and after
// hungAfter when the disk does not answer at all. Until then a node with a bad
// disk neither votes nor tries to lead.
//
// # Caveats
//
// A term keeps the time that it began with. When the leader's wall clock is set,
// absolute deadlines are judged by the new time only from the next leader on. A
// pinned key never goes before its time; it may stay longer by what the clock of
// a later leader is behind.
//
// Leases rest on clocks that nobody sets, and on their running at the same speed,
// give or take a tenth. A virtual machine that is stopped and does not notice
// breaks them; linearizable reads of pinned keys do not rest on them.
//
// Alone, a disk that hangs without an error makes its proposals wait.
//
// A start writes to the log, so it is refused while the disk is full. Up to 64 MiB
// of what the log does not need any more are kept to be written again.
//
// Close gives what is in flight closeWithin to land; then it is in doubt.
package cluster
