// Package check judges what clients saw.
//
// Every checker takes operations with the time before the request was sent and
// the time after the reply came, and what was learnt: done, certainly not done
// (then it is never given to a checker), or in doubt. An operation in doubt may
// have had its effect at any moment after it was sent, or never. What a checker
// reports cannot be explained by any such choice.
//
//	Register   one key, linearizable; a cached one may forget (porcupine)
//	Locks      no two certain holders at once
//	Counter    every increment has a value of its own, in order; totals
//	Claims     what was granted stays granted, to one only
//	Messages   per publisher in order, none twice
//
// **Caveats.** Times are CLOCK_MONOTONIC in nanoseconds (Now), which processes
// of one machine share. A register whose search takes too long is counted as
// undecided, not as wrong.
package check
