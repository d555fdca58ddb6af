// Package script runs the Lua scripts of EVAL as Redis 7.0 does.
//
// The language is gopher-lua's; the libraries are this package's own, because
// Redis's scripts see Lua's exact texts, number formats and limits. A script
// is parsed once and rewritten before it is compiled: concatenation, numeric
// for and computed table keys become calls, which is where numbers get Lua's
// spelling and where memory is bounded, and assignments that gopher-lua
// compiles wrongly get variables in between (rewrite.go). The engine keeps compiled scripts by
// SHA-1 and by source, and a few warm interpreters, whose globals no script can
// change. Scripts of one Shape are the same program; the host may have a better way
// to run it (Recognise).
//
// A script is stopped by its context or by its memory limit. The verdict is
// looked at between instructions and inside every loop of the libraries, and
// once given it stays, so pcall cannot swallow it. Memory is what the script's
// values reach and what libraries are making for it, measured whenever the
// process has allocated enough since the last look for the limit to be in
// question. What a library makes is paid for before it is allocated.
//
// Caveats: pairs walks a table in the order of insertion, so cjson and
// cmsgpack write object fields in that order, where Redis's order follows its
// hash; # of a table with holes may be another of its borders; a % 0 and a % inf
// follow C's fmod; the __len metamethod applies to tables; goto is a reserved
// word; settings of cjson and math.randomseed last for one run; a
// script of SCRIPT LOAD is forgotten too when the cache is full of ones used
// since, and then answers NOSCRIPT; a source has at most 4096 functions; syntax
// errors other than the common ones say less than Redis's, and errors in expressions
// with and, or may name another variable or none. The layouts of a few of gopher-lua's structs are
// mirrored here (view.go), checked when the program starts.
package script
