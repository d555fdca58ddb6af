package slab

import (
	"syscall"
	"unsafe"
)

// mapMemory is addresses that become memory where they are written to. Huge
// pages would make a small piece cost two megabytes.
func mapMemory(n int) []byte {
	m, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		fatal("cannot map memory: " + err.Error())
	}
	syscall.Madvise(m, syscall.MADV_NOHUGEPAGE) // an old kernel does not know it
	return m
}

func unmap(m []byte) {
	if err := syscall.Munmap(m); err != nil {
		panic("slab: cannot unmap memory: " + err.Error())
	}
}

// release gives pages back to the kernel, unless it has been told to keep all that
// the process has. They read as zeros then.
func release(at unsafe.Pointer, n int) {
	m := unsafe.Slice((*byte)(at), n)
	if syscall.Madvise(m, syscall.MADV_DONTNEED) != nil {
		clear(m)
	}
}
