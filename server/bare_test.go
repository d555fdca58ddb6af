package server

import (
	"strconv"
	"time"

	"crema/resp"
	"crema/store"
)

// Bare runs data commands on a store of its own, down the road but with no
// server and no connection around them.
type Bare struct {
	Store *store.Store
	table *table
	tx    store.Tx
	db    int
}

// NewBare starts a store; Close ends it.
func NewBare(cfg store.Config) *Bare {
	b := &Bare{Store: store.New(cfg), table: newTable(allRows()...)}
	b.Store.WantEvents(^store.EventClass(0))
	return b
}

func (b *Bare) Close() { b.Store.Close() }

// Select is the database of the commands that follow.
func (b *Bare) Select(db int) { b.db = db }

// Do runs one data command. It answers RESP2 bytes and the keyspace events,
// "name db key" each.
func (b *Bare) Do(words ...string) (reply []byte, events []string) {
	var said [][]byte
	for _, w := range words {
		said = append(said, []byte(w))
	}
	row, named, bad := b.table.lookup(said)
	if row == nil {
		return resp.Append(nil, bad, 2), nil
	}
	if !row.checkArity(said) {
		return resp.Append(nil, resp.ErrWrongArity(row.name), 2), nil
	}
	now := time.Now().UnixMilli()
	if err := b.tx.Begin(b.Store, now, b.db, store.Scope{Shards: row.scope(b.Store, said)}); err != nil {
		panic(err)
	}
	defer b.tx.End()
	a := resp.NewArgs(row.name, said, named)
	reply = resp.Append(nil, row.run(&b.tx, &a), 2)
	for _, e := range b.tx.Events() {
		events = append(events, e.Name+" "+strconv.Itoa(e.DB)+" "+string(e.Key))
	}
	b.Store.Apply(b.tx.Effects())
	return reply, events
}

// Entry is what a key of the current database holds.
func (b *Bare) Entry(key string) (store.Entry, bool) {
	scope := store.Scope{Shards: b.Store.ShardOf([]byte(key)), NoTouch: true}
	if err := b.tx.Begin(b.Store, time.Now().UnixMilli(), b.db, scope); err != nil {
		panic(err)
	}
	defer b.tx.End()
	return b.tx.Peek([]byte(key))
}

// Row is what COMMAND INFO shows of a row.
type Row struct {
	Name              string
	Arity             int
	Flags             []string
	First, Last, Step int
}

// Rows is every row of the table, subcommands too.
func Rows() []Row {
	var rows []Row
	for _, row := range newTable(allRows()...).byName {
		r := Row{Name: row.name, Arity: row.arity, First: row.keys.first, Last: row.keys.last, Step: row.keys.step}
		for _, f := range shownFlags {
			if row.flags&f.flag != 0 {
				r.Flags = append(r.Flags, f.name)
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// shownFlags are the flags as COMMAND INFO names them.
var shownFlags = []struct {
	flag flags
	name string
}{
	{write, "write"}, {readonly, "readonly"}, {denyOOM, "denyoom"}, {admin, "admin"}, {pubsubFlag, "pubsub"},
	{noScript, "noscript"}, {blocking, "blocking"}, {loading, "loading"}, {stale, "stale"},
	{skipMonitor, "skip_monitor"}, {skipSlowlog, "skip_slowlog"}, {fast, "fast"}, {noAuth, "no_auth"},
	{noMandatoryKeys, "no_mandatory_keys"},
	{noAsyncLoading, "no_async_loading"}, {noMulti, "no_multi"}, {movableKeys, "movablekeys"}, {allowBusy, "allow_busy"},
}
