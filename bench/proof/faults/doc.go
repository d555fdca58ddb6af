// Package faults breaks the nodes of a world, at random, with a seed.
//
// A Nemesis runs a few lanes. Each lane waits a little, picks a fault by weight
// and a node (often the leader) that no other lane has, says what it
// does, does it for a few seconds and takes it back. Whatever a fault breaks it
// mends itself before it returns, so that after Run everything is healed, though
// not necessarily caught up.
//
// **Caveats.** The seed gives the same choices, not the same run: who leads when
// a fault strikes, and how long a node takes to die, is up to the machine.
package faults
