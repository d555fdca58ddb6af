// Package slab hands out memory that the garbage collector does not see.
//
// # How it works
//
// A Space maps regions of 4 MiB and hands out pieces of them. A piece is known
// by its Ref, a number of four bytes, for which At finds the address. Nobody
// frees a piece but its owner, who also has to remember how large it is.
//
// A small piece is a slot of a slab: a few pages cut into equal slots of one of
// about fifty sizes, an eighth apart, with a bit for each that is free. New
// slots come from the fullest slab, so that the others can drain. A slab that
// has drained, and a piece too large for a slab, are runs of pages. Pages that
// are free go back to the kernel, but for a little slack.
//
// Where many slots of a size are free, Evacuate moves the pieces of the
// emptiest slab into the others, a few at a time, and tells the owner of each.
// So the memory that is held is never much more than what is in use, whatever
// has come and gone.
//
// # Caveats
//
// A Space has no lock: its owner has one. At alone may be called while another
// goroutine holds that lock, as long as it does not Alloc.
//
// A piece that was freed may be read, and holds anything, unless it was larger than
// a region: such a piece has a mapping of its own, and its addresses go with it. Of
// others only Close unmaps. The tag poison writes over whatever is freed.
//
// There is no error for want of memory, or of the 32 GiB of addresses: like a Go
// program that gets no memory, the process ends.
//
// What is kept here keeps nothing alive: a pointer into the Go heap must not be
// stored in it.
package slab
