// Package load drives servers that speak Redis's protocol and says what a
// request costs: throughput, latency, and the servers' own CPU time.
//
// A Job says what is done (Mix, mixes.go), to which keys (Keys, keys.go), with
// values of which size (Sizes), by how many clients, and how fast. Turn has one
// Server do it; Rounds has several take turns, so that what the machine does
// meanwhile happens to all of them. Table and Chart show what came of it.
//
// A closed loop sends a pipeline and waits for its answers before it sends the
// next. An open one (Job.Rate) sends when a request is due, whether earlier ones
// are answered or not, and counts latency from when it was due: a server that
// stops for a second is seen to stop for everybody who would have come.
//
// A client (client.go) is what one connection has asked and what it makes of the
// answers. It does no I/O: on Linux a loop of our own over epoll (epoll_linux.go)
// reads and writes for all clients of a thread, anywhere else and for TLS there
// is a goroutine for each (goroutines.go). Requests are built from templates, a
// turn allocates nothing once it is under way.
//
// # Caveats
//
// The generator shares the machine's cores with the servers: throughput says as
// much about it as about them. CPU time per request is the servers' own.
//
// Goroutines sleep less exactly than epoll: below a millisecond, the latency of an
// open loop over TLS or on another system is ours.
package load
