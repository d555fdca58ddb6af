// Package peer connects the nodes of a cluster: one TCP port per node, over
// which nodes prove who they are and then exchange frames, calls and Raft's own
// streams.
//
// # How it works
//
// Every connection begins with a handshake (handshake.go): who speaks to whom,
// for which purpose, of which cluster, and on both sides the proof of the shared
// secret. It then is one of three things:
//
//	raft   a stream that hashicorp/raft uses as it likes (raft.go)
//	link   what one node's server has for another's (link.go, guest.go)
//	admin  one question and one answer, also before there is a cluster (admin.go)
//
// A node keeps one link to each node it was told of by SetPeers. Two nodes thus
// have two connections: on its own link a node posts and calls, and gets
// answers. A link carries frames (frame.go). Whoever has something to send puts
// it into the outbox (outbox.go), whose one goroutine writes everything that
// waits at once. Messages above chunkBytes are cut, and chunks of several
// messages take turns, so that a small call is delayed by one chunk and not by
// somebody's 100 MB. Both ends ping when there is nothing to say, and silence of
// maxSilence ends the connection.
//
// # What an error says
//
// An error that wraps ErrNotSent means that the peer cannot have acted: there was
// no link, or the request was not wholly handed to the socket. Any other error of
// Call leaves that open.
//
// # Caveats
//
// Without TLS the secret proves who is there when the connection begins; it
// neither hides nor protects what follows. Without TLS and without a secret
// anybody who reaches the port is believed.
//
// A frame or request that was handed over belongs to the link until the call
// has been answered: after an error it may still be read.
//
// Posts are accepted from the moment Linked is called. Whoever posts from another
// goroutine and has to come after what Linked posts learns of the node from
// Linked, under a lock that Linked holds.
//
// Close waits for everything the handler is told, but neither for Answers nor
// for Admin calls that still run.
package peer
