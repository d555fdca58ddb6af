//go:build !linux

package server

// availableMemory is unknown here; 0 means no limit by default.
func availableMemory() int64 { return 0 }
