//go:build !linux

package slab

import "unsafe"

// Elsewhere the memory is Go's own, in which it has no pointers to look for, and
// pages stay until Close.

// mapMemory takes a byte more, because an empty value at the end of a region has its
// address, which must not be that of somebody else's memory.
func mapMemory(n int) []byte { return make([]byte, n+1)[:n:n] }

func unmap([]byte) {}

// release leaves zeros, as it does where the kernel takes pages back.
func release(at unsafe.Pointer, n int) { clear(unsafe.Slice((*byte)(at), n)) }
