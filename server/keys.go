package server

import (
	"bytes"

	"crema/resp"
	"crema/store"
)

func keyRows() []command {
	return []command{
		{"del", -2, write | catKeyspace, keys(1, -1, 1), data(cmdDel)},
		{"unlink", -2, write | fast | catKeyspace, keys(1, -1, 1), data(cmdDel)},
		{"exists", -2, readonly | fast | catKeyspace, keys(1, -1, 1), data(cmdExists)},
		{"touch", -2, readonly | fast | catKeyspace, keys(1, -1, 1), data(cmdTouch)},
		{"type", 2, readonly | fast | catKeyspace, key(1), data(cmdType)},
		{"keys", 2, readonly | catKeyspace | catDangerous | allShards, noKeys, data(cmdKeys)},
		{"randomkey", 1, readonly | catKeyspace | allShards, noKeys, data(cmdRandomKey)},
		{"rename", 3, write | catKeyspace, keys(1, 2, 1), data(cmdRename)},
		{"renamenx", 3, write | fast | catKeyspace, keys(1, 2, 1), data(cmdRenameNX)},
		{"copy", -3, write | denyOOM | catKeyspace, keys(1, 2, 1), data(cmdCopy)},
		{"move", 3, write | fast | catKeyspace, key(1), data(cmdMove)},
	}
}

// DEL key [key …]
// UNLINK key [key …]
func cmdDel(tx *store.Tx, a *resp.Args) resp.Reply {
	n := int64(0)
	for a.More() {
		if remove(tx, a.Bytes()) {
			n++
		}
	}
	return resp.Int(n)
}

// EXISTS key [key …]
func cmdExists(tx *store.Tx, a *resp.Args) resp.Reply { return countKeys(tx, a, peek) }

// TOUCH key [key …]
func cmdTouch(tx *store.Tx, a *resp.Args) resp.Reply { return countKeys(tx, a, read) }

// countKeys counts the words that name a key, repeated ones again.
func countKeys(tx *store.Tx, a *resp.Args, look func(*store.Tx, []byte) (store.Entry, bool)) resp.Reply {
	n := int64(0)
	for a.More() {
		if _, exists := look(tx, a.Bytes()); exists {
			n++
		}
	}
	return resp.Int(n)
}

// TYPE key
func cmdType(tx *store.Tx, a *resp.Args) resp.Reply {
	if _, exists := peek(tx, a.Bytes()); !exists {
		return resp.Simple("none")
	}
	return resp.Simple("string")
}

// KEYS pattern
func cmdKeys(tx *store.Tx, a *resp.Args) resp.Reply {
	pattern := a.Bytes()
	if len(pattern) > maxPatternBytes {
		return resp.ErrPatternTooLong
	}
	var found []resp.Reply
	tx.Each(func(key []byte, _ store.Entry) bool {
		if matches(pattern, key) {
			found = append(found, resp.Bulk(key))
		}
		return true
	})
	return resp.Array(found...)
}

// RANDOMKEY
func cmdRandomKey(tx *store.Tx, _ *resp.Args) resp.Reply {
	key, ok := tx.RandomKey()
	if !ok {
		return resp.Nil
	}
	return resp.Bulk(key)
}

// RENAME key newkey
func cmdRename(tx *store.Tx, a *resp.Args) resp.Reply {
	renamed := rename(tx, a, false)
	if renamed.IsError() {
		return renamed
	}
	return resp.OK
}

// RENAMENX key newkey
func cmdRenameNX(tx *store.Tx, a *resp.Args) resp.Reply { return rename(tx, a, true) }

// rename answers 1 or 0. The value keeps its deadline and its kind; a name
// that was taken only because it was free is pinned, like any other lock.
func rename(tx *store.Tx, a *resp.Args, onlyNew bool) resp.Reply {
	from, to := a.Bytes(), a.Bytes()
	e, exists := tx.Find(from)
	if !exists {
		return resp.ErrNoSuchKey
	}
	if bytes.Equal(from, to) {
		return resp.Zero
	}
	if _, taken := tx.Find(to); taken {
		if onlyNew {
			return resp.Zero
		}
		tx.Delete(to)
	}
	tx.Put(to, carried(e, onlyNew))
	tx.Delete(from)
	tx.Notify(store.ClassGeneric, "rename_from", from)
	tx.Notify(store.ClassGeneric, "rename_to", to)
	return resp.One
}

// carried is an entry on its way to another name.
func carried(e store.Entry, onlyNew bool) store.Put {
	return store.Put{Value: e.Value, Deadline: e.Deadline, Encoding: e.Encoding, Sure: e.Pinned || onlyNew}
}

// COPY source destination [DB destination-db] [REPLACE]
func cmdCopy(tx *store.Tx, a *resp.Args) resp.Reply {
	from, to := a.Bytes(), a.Bytes()
	db, replace := tx.DB(), false
	for a.More() && !a.Failed() {
		switch {
		case a.Match("REPLACE"):
			replace = true
		case a.Left() > 1 && a.Match("DB"):
			db = database(a, resp.None)
			checkDatabase(a, db)
		default:
			a.Fail(resp.ErrSyntax)
		}
	}
	if a.Failed() {
		return a.Err()
	}
	if db == tx.DB() && bytes.Equal(from, to) {
		return resp.ErrSameObject
	}
	e, exists := read(tx, from)
	if !exists {
		return resp.Zero
	}
	if _, taken := tx.FindIn(db, to); taken {
		if !replace {
			return resp.Zero
		}
		tx.DeleteIn(db, to)
	}
	tx.PutIn(db, to, carried(e, !replace))
	tx.NotifyIn(db, store.ClassGeneric, "copy_to", to)
	return resp.One
}

// MOVE key db
func cmdMove(tx *store.Tx, a *resp.Args) resp.Reply {
	key, db := a.Bytes(), database(a, resp.None)
	checkDatabase(a, db)
	if a.Failed() {
		return a.Err()
	}
	if db == tx.DB() {
		return resp.ErrSameObject
	}
	e, exists := tx.Find(key)
	if !exists {
		return resp.Zero
	}
	if _, taken := tx.FindIn(db, key); taken {
		return resp.Zero
	}
	tx.PutIn(db, key, carried(e, true))
	tx.Delete(key)
	tx.Notify(store.ClassGeneric, "move_from", key)
	tx.NotifyIn(db, store.ClassGeneric, "move_to", key)
	return resp.One
}
