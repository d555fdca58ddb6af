//go:build linux

package faults

// Plan is which faults strike, and how often the leader.
type Plan struct {
	Weights map[string]int
	Leaders int // percent
}

// Everything is what a run without a plant does.
func Everything() Plan {
	return Plan{Leaders: 40, Weights: map[string]int{
		"kill": 5, "pause": 4, "isolate": 4, "oneway": 3, "bridge": 2, "degrade": 3, "clients": 2, "clock": 3,
		"diskfull": 2, "diskslow": 2, "term": 2, "rolling": 1, "power": 1, "unplug": 3, "transfer": 1,
	}}
}

// Plants are the promises that can be switched off, each with the faults that
// show best that it is off.
func Plants() map[string]Plan {
	return map[string]Plan{
		// Who answers before a quorum has it loses what it answered while cut off.
		"quorum": {map[string]int{"isolate": 4, "kill": 1}, 95},
		// Who does not sync loses what it answered when the power fails.
		"fsync": {map[string]int{"power": 1}, 0},
		// Who serves before its barrier has not applied what the last leader answered.
		"barrier": {map[string]int{"kill": 4, "isolate": 2, "transfer": 2}, 90},
		// Who does not verify goes on reading when others lead.
		"verify": {map[string]int{"isolate": 4, "pause": 4}, 90},
		// Who keeps its cached side finds in it, when it leads again, what it was.
		"cache": {map[string]int{"transfer": 4, "isolate": 3, "pause": 3}, 80},
		// Whose followers expire by their own clock loses locks when one is ahead
		// and leads later.
		"expiry": {map[string]int{"clock": 5, "transfer": 2, "kill": 1}, 20},
	}
}
