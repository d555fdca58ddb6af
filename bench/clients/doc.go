// Package clients talks to a server with the client packages people already
// use, unchanged, and checks that they get what Redis would have given them.
//
// TestMain starts one server: the crema binary named by CREMA_BIN, a crema
// built from the module above when CREMA_BIN is empty, or a redis-server when
// CREMA_TARGET is redis, which is how the scenarios themselves are checked.
// Go clients are tested in this process. Every other language runs as a script
// that is told REDIS_URL and prints one line a scenario, "ok <client>
// <scenario>"; it ends with a status other than zero when one of them failed.
//
// Every client works under its own key prefix, so the scripts run side by side.
//
// Caveats: the Debian packages and node_modules must be there first, see
// install.sh; a client that is missing fails its test rather than hiding it.
package clients
