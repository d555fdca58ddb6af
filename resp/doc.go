// Package resp is what goes over the wire: commands read within limits,
// replies as plain values, their bytes in RESP2 and RESP3, and every error text.
//
// A Reader turns a connection's bytes into commands without copying them: the
// words of a command point into its read buffer. A command returns a Reply, a
// plain value, and Append writes it in the protocol version that its client
// speaks. ReadReply is the other direction, for whoever talks to a server.
// Match is the glob of KEYS and PSUBSCRIBE, AppendQuoted and SplitLine are the
// quoting of MONITOR and of inline commands, AddFloat is INCRBYFLOAT's sum.
//
// # Caveats
//
// Words are valid until the next Reader.Fill; whoever keeps one copies it.
//
// Limits.MaxArgs stops a command of more than a million words at its header,
// where Redis 7.0 waits for up to two billion.
//
// A double that is not a number is sent as "nan" whatever its sign, where
// Redis 7.0 sends "-nan" for some.
package resp
