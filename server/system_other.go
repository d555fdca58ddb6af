//go:build !linux

package server

import "math"

// availableMemory is unknown here; 0 means no limit by default.
func availableMemory() int64 { return 0 }

// availableFiles is unknown here.
func availableFiles() int { return math.MaxInt }
