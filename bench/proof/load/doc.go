// Package load is what clients do to the cluster while it is being broken.
//
// A Workload runs workers until its context ends; each worker talks to one node
// at a time through an unchanged client package, changes nodes at random and
// whenever it got an error, and hands what it saw to package check. Settle is
// called when everything has been healed and nobody works: what is left to be
// verified is read then, and must be answered.
//
// go-redis is told not to retry: what it sent and got no answer to is in doubt,
// and a second try would hide that.
//
// **Caveats.** An error reply that is not known to mean "nothing has happened"
// counts as in doubt and is listed in the summary.
package load
