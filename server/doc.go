// Package server answers Redis clients: who is talking, what they asked, and
// the one road that every data command takes.
//
// A connection is one goroutine (conn.go). It reads a batch of pipelined
// commands, takes each down the road (road.go) and writes their replies at
// once:
//
//	look up → admit → evaluate → commit → apply → answer
//
// A command is one row of the table (table.go) and one dull function. A data
// command sees a store.Tx and its words, nothing else; a session command
// (AUTH, SUBSCRIBE, EXEC, EVAL …) sees the connection. EXEC (transactions.go)
// and scripts (scripts.go) evaluate many data commands in one Tx.
//
// Where a log makes effects survive, commands are answered when it has them: a
// pipeline becomes a run (run.go). Where there are other nodes (peers.go) one of
// them leads and evaluates; whichever a client is connected to keeps its session,
// and sends the leader what concerns keys (forward.go, answer.go,
// transactions_shared.go, session_remote.go). INFO, MEMORY STATS, SLOWLOG,
// LATENCY, MONITOR and CLIENT tell of the node that is asked; scripts and some
// settings are told to all (shared.go).
//
// Messages (pubsub.go) and MONITOR lines (monitor.go) go through each
// receiver's outbox (outbox.go), so nobody waits for somebody else's socket. What
// the nodes of a cluster tell each other beside commands is the relay's (relay.go).
//
// # Caveats
//
// Locks are taken in the order latch → shard → pubsub, tracking → outbox, relay. Keyspace
// events and deferred messages are announced while a Tx is open, so nothing
// under pubsub.mu or an outbox's mutex may open a Tx.
//
// A reply may point into the store until its Tx ends: it is encoded before.
//
// While a run is open its replies are in the output and not yet true: nothing
// may write the output to the client but flush, which settles the run first.
package server
