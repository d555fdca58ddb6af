package load

import "time"

// settleTimeout is how long an answer may take once everything is healed, or, in
// the middle of faults, before a workload calls the cluster dead.
const settleTimeout = 60 * time.Second
