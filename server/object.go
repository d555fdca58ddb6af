package server

import (
	"crema/resp"
	"crema/store"
)

func objectRows() []command {
	const about = readonly | catKeyspace
	return []command{
		{"object", -2, 0, noKeys, container(
			command{"encoding", 3, about, key(2), data(cmdObjectEncoding)},
			command{"freq", 3, about, key(2), data(cmdObjectFreq)},
			command{"help", 2, loading | stale | catKeyspace, noKeys, data(cmdObjectHelp)},
			command{"idletime", 3, about, key(2), data(cmdObjectIdleTime)},
			command{"refcount", 3, about, key(2), data(cmdObjectRefCount)},
		)},
	}
}

// OBJECT looks keys up with Tx.Peek alone: a miss is counted, but is no event.

// longestEmbstr is the longest value that Redis keeps beside its header.
const longestEmbstr = 44

// OBJECT ENCODING key
func cmdObjectEncoding(tx *store.Tx, a *resp.Args) resp.Reply {
	e, exists := tx.Peek(a.Bytes())
	if !exists {
		return resp.Nil
	}
	return resp.BulkString(encodingName(e))
}

// encodingName is how Redis would keep a string.
func encodingName(e store.Entry) string {
	if e.Encoding == store.Raw {
		return "raw"
	}
	if _, isInt := resp.ParseInt(e.Value); isInt && e.Encoding == store.Plain {
		return "int"
	}
	if len(e.Value) <= longestEmbstr {
		return "embstr"
	}
	return "raw"
}

// OBJECT FREQ key
func cmdObjectFreq(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	if _, exists := tx.Peek(key); !exists {
		return resp.Nil
	}
	if tx.Policy() == store.NoEviction {
		return resp.ErrNotLFU
	}
	n, _ := tx.Freq(key)
	return resp.Int(int64(n))
}

// OBJECT IDLETIME key
func cmdObjectIdleTime(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	if _, exists := tx.Peek(key); !exists {
		return resp.Nil
	}
	if tx.Policy() != store.NoEviction {
		return resp.ErrIsLFU
	}
	seconds, _ := tx.IdleTime(key)
	return resp.Int(seconds)
}

// OBJECT REFCOUNT key
func cmdObjectRefCount(tx *store.Tx, a *resp.Args) resp.Reply {
	if _, exists := tx.Peek(a.Bytes()); !exists {
		return resp.Nil
	}
	return resp.One // no value is shared, not even a small integer
}

// OBJECT HELP
func cmdObjectHelp(_ *store.Tx, _ *resp.Args) resp.Reply {
	return helpReply("OBJECT",
		"ENCODING <key>",
		"    Return the kind of internal representation used in order to store the value",
		"    associated with a <key>.",
		"FREQ <key>",
		"    Return the access frequency index of the <key>. The returned integer is",
		"    proportional to the logarithm of the recent access frequency of the key.",
		"IDLETIME <key>",
		"    Return the idle time of the <key>, that is the approximated number of",
		"    seconds elapsed since the last access to the key.",
		"REFCOUNT <key>",
		"    Return the number of references of the value associated with the specified",
		"    <key>.",
	)
}

// MEMORY USAGE key [SAMPLES count]
func cmdMemoryUsage(tx *store.Tx, a *resp.Args) resp.Reply {
	key := a.Bytes()
	for a.More() && !a.Failed() {
		if a.Left() < 2 || !a.Match("SAMPLES") || a.Int() < 0 {
			a.Fail(resp.ErrSyntax)
		}
	}
	if a.Failed() {
		return a.Err()
	}
	n, exists := tx.Memory(key)
	if !exists {
		return resp.Nil
	}
	return resp.Int(int64(n))
}
