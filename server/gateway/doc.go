// Package gateway is the HTTP door: commands as Upstash's REST API has them, and
// messages as server-sent events.
//
// A request is looked up in one table of routes (routes.go); a path that none
// names is a command. Commands of a request are one Batch for the Door (door.go),
// which is the server: it takes them down the one road as a connection's pipeline
// is taken, and its replies in RESP2 are turned into JSON as they are written
// (json_write.go). Bodies are read by a strict reader of arrays (json_read.go).
//
// A stream (stream.go) is the request's own goroutine and a Queue (queue.go) that
// the server pushes to. A Message is encoded once for all streams that show it
// alike.
//
// The page (page.go) is a bundle of files that knows nothing by itself: it asks
// /pipeline for what it shows, with the token of whoever looks.
//
// Browsers' streams (events.go) carry ids, which are positions (position.go) in
// the server's histories, and come back with them; token.go is who may listen.
//
// # Caveats
//
// The words of a Batch point into the body, and replies into memory that is kept
// for the next request: neither outlives the request.
//
// What a stranger may make the server spend is bounded before it is spent: by
// gateway.go's limits, by Queue's, and by the number of connections.
//
// A value that is not UTF-8 comes back whole only where the client asks for
// base64 or RESP2.
package gateway
