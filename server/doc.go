// Package server answers Redis clients: who is talking, what they asked, and
// the one road that every data command takes.
//
// Connections take turns (conn.go): one read, the commands that it brought, each
// taken down the road (road.go), and one write of their replies:
//
//	look up → admit → evaluate → commit → apply → answer
//
// A plain connection has its turns from a poller (poller_linux.go), one goroutine
// that waits for thousands of sockets; where a turn may have to wait, under TLS
// or with a log, a connection has a goroutine of its own. Data commands that
// follow each other in a pipeline are evaluated in one Tx (group.go).
//
// A command is one row of the table (table.go) and one dull function. A data
// command sees a store.Tx and its words, nothing else; a session command
// (AUTH, SUBSCRIBE, EXEC, EVAL …) sees the connection. EXEC (transactions.go)
// and scripts (scripts.go) evaluate many data commands in one Tx; what lock
// libraries send is recognised and needs no Lua (native.go).
//
// Where a log makes effects survive, commands are answered when it has them: a
// pipeline becomes a run (run.go). Where there are other nodes (peers.go) one of
// them leads and evaluates; whichever a client is connected to keeps its session,
// and sends the leader what concerns keys (forward.go, answer.go,
// transactions_shared.go, session_remote.go). INFO, MEMORY STATS, SLOWLOG,
// LATENCY, MONITOR and CLIENT tell of the node that is asked; scripts and some
// settings are told to all (shared.go).
//
// HTTP requests come through package gateway (http.go): their commands take the
// same road in a session that lasts as long as the request (http_door.go), and an
// event stream is a client whose messages go to a queue of the gateway's. The
// server itself answers /metrics (metrics.go), /healthz and /readyz (health.go).
//
// Messages (pubsub.go) and MONITOR lines (monitor.go) go through each
// receiver's outbox (outbox.go), so nobody waits for somebody else's socket: its
// poller writes it after the turn that filled it. What
// the nodes of a cluster tell each other beside commands is the relay's (relay.go).
// Channels may have a history (history.go), which all nodes keep alike.
//
// # Caveats
//
// Locks are taken in the order latch → shard → histories → pubsub, tracking → outbox, queue, relay. Keyspace
// events and deferred messages are announced while a Tx is open, so nothing
// under pubsub.mu or an outbox's mutex may open a Tx.
//
// Who is about to wait in a turn calls conn.detach, or thousands wait with it.
//
// A reply may point into the store until its Tx ends: it is encoded before.
//
// While a run is open its replies are in the output and not yet true: nothing
// may write the output to the client but flush, which settles the run first.
package server
