package server

import (
	"crema/resp"
	"crema/store"
)

// flags says what a command is. The names are those that COMMAND INFO shows.
type flags uint64

const (
	write           flags = 1 << iota // may record effects
	readonly                          // never records effects
	denyOOM                           // refused when pinned entries alone fill maxmemory
	admin                             // for operators: @admin and @dangerous
	pubsubFlag                        // belongs to @pubsub
	noScript                          // refused inside a script
	loading                           // (shown only: nothing is ever loading)
	stale                             // (shown only: nothing is ever stale)
	skipMonitor                       // not shown to MONITOR
	skipSlowlog                       // not kept in SLOWLOG
	fast                              // O(1) or O(log n)
	noAuth                            // allowed before AUTH
	mayReplicate                      // stopped by CLIENT PAUSE WRITE although it writes no key
	noMandatoryKeys                   // the key list may be empty
	protected                         // refused unless enable-debug-command allows it
	noAsyncLoading                    // (shown only)
	noMulti                           // refused inside MULTI
	movableKeys                       // key positions depend on the words
	allowBusy                         // answered while a script holds the server too long
	blocking                          // (shown only so far)
	noTouch                           // (shown only)

	// ACL categories that do not follow from the flags above.
	catKeyspace
	catString
	catConnection
	catTransaction
	catScripting
	catDangerous

	unqueued     // runs at once even inside MULTI
	inSubscriber // allowed to a RESP2 client that is subscribed
	secret       // words may hold a password: redacted in SLOWLOG and MONITOR
	runsScript   // evaluates a script: its Tx latches every shard

	// notOverHTTP: about a connection, which a request does not have. newTable
	// sets it, see http_door.go.
	notOverHTTP

	// allShards: the command reads or changes more than its key words name,
	// so its Tx covers every shard.
	allShards
)

// keyRule says where the keys stand among a command's words. Positions count
// from the command's own name, which is 0; a negative last counts from the end.
type keyRule struct {
	first, last, step int
	numkeys           int // >0: position of a count that the keys follow (EVAL)
}

var noKeys = keyRule{}

func key(at int) keyRule                 { return keyRule{first: at, last: at, step: 1} }
func keys(first, last, step int) keyRule { return keyRule{first: first, last: last, step: step} }
func numKeys(at int) keyRule             { return keyRule{numkeys: at} }

// each calls visit with every key among words. Words that a wrong numkeys
// points past are simply not there: the command itself reports that.
func (k keyRule) each(words [][]byte, visit func(key []byte)) {
	first, last, step := k.first, k.last, k.step
	if k.numkeys > 0 {
		if k.numkeys >= len(words) {
			return
		}
		n, ok := resp.ParseInt(words[k.numkeys])
		if !ok || n <= 0 {
			return
		}
		first, step = k.numkeys+1, 1
		last = k.numkeys + int(min(n, int64(len(words))))
	}
	if first == 0 {
		return
	}
	if last < 0 {
		last += len(words)
	}
	for i := first; i <= last && i < len(words); i += step {
		visit(words[i])
	}
}

// command is one row of the table: the whole truth about a command. COMMAND,
// arity errors, scopes, OOM, permissions, the road and the fuzz corpus all
// read it; documentation for people (summary, syntax) is beside it in docs.go.
type command struct {
	name  string // lower case; "client|kill" for a subcommand
	arity int    // words including the name; negative: at least that many
	flags flags
	keys  keyRule
	body
}

// body is what a row does, exactly one of the first three, and how often it did.
type body struct {
	run     func(tx *store.Tx, a *resp.Args) resp.Reply // a data command: sees only the Tx
	session func(c *conn, a *resp.Args) resp.Reply      // a session command: sees the connection
	subs    []command                                   // a container: the second word decides
	stat    *commandStat                                // set by newTable
}

func data(run func(*store.Tx, *resp.Args) resp.Reply) body { return body{run: run} }
func session(run func(*conn, *resp.Args) resp.Reply) body  { return body{session: run} }
func container(rows ...command) body                       { return body{subs: rows} }

// table finds rows by name. It never changes after newTable.
type table struct {
	byName map[string]*command // lower-case names; subcommands as "client|kill"
	all    []*command          // top-level rows in the order of the lists
	short  [shortSlots]named   // rows of names of up to eight letters, by hash
}

// named is a row beside its name as a number.
type named struct {
	name uint64
	row  *command
}

// shortSlots is a power of two, several times the commands there are.
const (
	shortSlots = 1 << shortBits
	shortBits  = 10
)

// nameNumber is a word of up to eight letters as a number, whatever their case; such
// words are most names that are ever looked up. Two words of one length have
// one number only if they are the same.
func nameNumber(word []byte) (n uint64, slot int) {
	for _, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		n = n<<8 | uint64(c)
	}
	return n, int(n * 0x9e3779b97f4a7c15 >> (64 - shortBits))
}

// quick is lookup for a short name without subcommands.
func (t *table) quick(word []byte) *command {
	if len(word) > 8 {
		return nil
	}
	n, slot := nameNumber(word)
	for ; t.short[slot].row != nil; slot = (slot + 1) % shortSlots {
		if at := &t.short[slot]; at.name == n && len(at.row.name) == len(word) {
			return at.row
		}
	}
	return nil
}

// shorten makes a row's name quick to find.
func (t *table) shorten(row *command) {
	if len(row.name) > 8 || len(row.subs) > 0 {
		return
	}
	n, slot := nameNumber([]byte(row.name))
	for t.short[slot].row != nil {
		slot = (slot + 1) % shortSlots
	}
	t.short[slot] = named{n, row}
}

// newTable joins the families' rows. Each server has its own, because the
// rows carry its counters.
func newTable(families ...[]command) *table {
	t := &table{byName: map[string]*command{}}
	for _, rows := range families {
		for i := range rows {
			row := rows[i]
			row.stat = new(commandStat)
			row.flags |= httpFlags(row.name, row.flags)
			row.subs = append([]command(nil), row.subs...)
			t.all = append(t.all, &row)
			t.byName[row.name] = &row
			t.shorten(&row)
			for j := range row.subs {
				sub := &row.subs[j]
				sub.name = row.name + "|" + sub.name
				sub.stat = new(commandStat)
				sub.flags |= httpFlags(row.name, sub.flags)
				t.byName[sub.name] = sub
			}
		}
	}
	return t
}

// longestName bounds the stack buffer that lookup folds a name into.
const longestName = 64

// lookup finds the row for words, a subcommand's row where there is one, and
// how many words name it. A nil row comes with the error to answer.
func (t *table) lookup(words [][]byte) (row *command, named int, err resp.Reply) {
	if row := t.quick(words[0]); row != nil {
		return row, 1, resp.None
	}
	var buf [longestName]byte
	name, ok := appendLower(buf[:0], words[0])
	if !ok {
		return nil, 0, resp.ErrUnknownCommand(words)
	}
	row = t.byName[string(name)]
	if row == nil {
		return nil, 0, resp.ErrUnknownCommand(words)
	}
	if len(row.subs) == 0 || len(words) < 2 {
		return row, 1, resp.None
	}
	name = append(name, '|')
	if name, ok = appendLower(name, words[1]); ok {
		if sub := t.byName[string(name)]; sub != nil {
			return sub, 2, resp.None
		}
	}
	return nil, 0, resp.ErrUnknownSubcommand(row.name, words[1])
}

// appendLower appends an ASCII-folded name if it can be one of ours. A "|"
// would let a word name a subcommand directly.
func appendLower(dst, word []byte) ([]byte, bool) {
	if len(dst)+len(word) >= longestName {
		return dst, false
	}
	for _, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '|' {
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, true
}

// checkArity tells whether the number of words suits the row.
func (row *command) checkArity(words [][]byte) bool {
	if row.arity >= 0 {
		return len(words) == row.arity
	}
	return len(words) >= -row.arity
}

// mayChange tells whether others can notice that the command ran: it may write,
// publish, or run a script that does.
func (row *command) mayChange() bool {
	return row.flags&(write|mayReplicate) != 0 || row.flags&(runsScript|readonly) == runsScript
}

// scope is the set of shards that a data command's Tx must cover.
func (row *command) scope(st *store.Store, words [][]byte) store.Shards {
	if row.flags&allShards != 0 {
		return store.AllShards
	}
	if k := row.keys; k.first == 1 && k.last == 1 { // the common case, without a closure
		return st.ShardOf(words[1])
	}
	var set store.Shards
	row.keys.each(words, func(key []byte) { set |= st.ShardOf(key) })
	return set
}
