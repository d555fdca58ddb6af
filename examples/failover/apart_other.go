//go:build !linux

package main

import "syscall"

// apart gives a node a group of its own, so that Ctrl-C is not for it.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
