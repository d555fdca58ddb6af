package server

import (
	"crema/resp"
	"crema/store"
)

func databaseRows() []command {
	return []command{
		{"dbsize", 1, readonly | fast | catKeyspace | allShards, noKeys, data(cmdDBSize)},
		{"swapdb", 3, write | fast | catKeyspace | catDangerous | allShards, noKeys, data(cmdSwapDB)},
		{"flushdb", -1, write | catKeyspace | catDangerous | allShards, noKeys, data(cmdFlushDB)},
		{"flushall", -1, write | catKeyspace | catDangerous | allShards, noKeys, data(cmdFlushAll)},
	}
}

// DBSIZE
func cmdDBSize(tx *store.Tx, _ *resp.Args) resp.Reply { return resp.Int(int64(tx.Len())) }

// SWAPDB index1 index2
func cmdSwapDB(tx *store.Tx, a *resp.Args) resp.Reply {
	one, two := database(a, resp.ErrInvalidDBOne), database(a, resp.ErrInvalidDBTwo)
	checkDatabase(a, one)
	checkDatabase(a, two)
	if a.Failed() {
		return a.Err()
	}
	tx.Swap(one, two)
	return resp.OK
}

// FLUSHDB [ASYNC | SYNC]
func cmdFlushDB(tx *store.Tx, a *resp.Args) resp.Reply { return flush(tx, a, tx.DB()) }

// FLUSHALL [ASYNC | SYNC]
func cmdFlushAll(tx *store.Tx, a *resp.Args) resp.Reply { return flush(tx, a, -1) }

// flush empties a database, -1 for all of them. ASYNC and SYNC are the same
// here: the collector frees memory beside the commands either way.
func flush(tx *store.Tx, a *resp.Args, db int) resp.Reply {
	if a.More() && !a.Match("ASYNC") && !a.Match("SYNC") || a.More() {
		return resp.ErrSyntax
	}
	tx.Flush(db)
	return resp.OK
}
