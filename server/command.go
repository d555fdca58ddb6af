package server

import (
	"slices"
	"strings"

	"crema/resp"
)

// catAdmin is the category @admin without the flag: LASTSAVE has it.
const catAdmin flags = 1 << 62

func commandRows() []command {
	return []command{{"command", -1, loading | stale | catConnection, noKeys, body{
		session: cmdCommand, // without a subcommand
		subs: []command{
			{"count", 2, loading | stale | catConnection, noKeys, session(cmdCommandCount)},
			{"docs", -2, loading | stale | catConnection, noKeys, session(cmdCommandDocs)},
			{"getkeys", -4, loading | stale | catConnection, noKeys, session(cmdCommandGetKeys)},
			{"getkeysandflags", -4, loading | stale | catConnection, noKeys, session(cmdCommandGetKeysAndFlags)},
			{"help", 2, loading | stale | catConnection, noKeys, session(cmdCommandHelp)},
			{"info", -2, loading | stale | catConnection, noKeys, session(cmdCommandInfo)},
			{"list", -2, loading | stale | catConnection, noKeys, session(cmdCommandList)},
		},
	}}}
}

// COMMAND
func cmdCommand(c *conn, _ *resp.Args) resp.Reply {
	all := make([]resp.Reply, len(c.srv.table.all))
	for i, row := range c.srv.table.all {
		all[i] = infoReply(row)
	}
	return resp.Array(all...)
}

// COMMAND COUNT
func cmdCommandCount(c *conn, _ *resp.Args) resp.Reply {
	return resp.Int(int64(len(c.srv.table.all)))
}

// COMMAND INFO [name ...]
func cmdCommandInfo(c *conn, a *resp.Args) resp.Reply {
	if !a.More() {
		return cmdCommand(c, a)
	}
	var infos []resp.Reply
	for _, name := range a.Rest() {
		if row := c.srv.table.named(name); row != nil {
			infos = append(infos, infoReply(row))
		} else {
			infos = append(infos, resp.Nil)
		}
	}
	return resp.Array(infos...)
}

// COMMAND DOCS [name ...]
func cmdCommandDocs(c *conn, a *resp.Args) resp.Reply {
	rows := c.srv.table.all
	if a.More() {
		rows = nil
		for _, name := range a.Rest() {
			if row := c.srv.table.named(name); row != nil {
				rows = append(rows, row)
			}
		}
	}
	var pairs []resp.Reply
	for _, row := range rows {
		pairs = append(pairs, resp.BulkString(row.name), docsReply(row))
	}
	return resp.Map(pairs...)
}

// COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]
func cmdCommandList(c *conn, a *resp.Args) resp.Reply {
	keep := func(*command) bool { return true }
	if a.More() {
		if a.Left() != 3 || !a.Match("FILTERBY") {
			return resp.ErrSyntax
		}
		switch {
		case a.Match("MODULE"): // there are none
			keep = func(*command) bool { return false }
			a.Bytes()
		case a.Match("ACLCAT"):
			category := "@" + resp.Lower(a.Bytes())
			keep = func(row *command) bool { return slices.Contains(row.categories(), category) }
		case a.Match("PATTERN"):
			pattern := a.Bytes()
			keep = func(row *command) bool { return resp.Match(pattern, []byte(row.name), true) }
		default:
			return resp.ErrSyntax
		}
	}
	names := []resp.Reply{}
	for _, row := range c.srv.table.all {
		if keep(row) {
			names = append(names, resp.BulkString(row.name))
		}
		for i := range row.subs {
			if sub := &row.subs[i]; keep(sub) {
				names = append(names, resp.BulkString(sub.name))
			}
		}
	}
	return resp.Array(names...)
}

// COMMAND GETKEYS command [word ...]
func cmdCommandGetKeys(c *conn, a *resp.Args) resp.Reply {
	found := []resp.Reply{}
	bad := c.srv.table.keysOf(a.Rest(), func(key []byte, _ string) { found = append(found, resp.Bulk(key)) })
	if bad.IsError() {
		return bad
	}
	return resp.Array(found...)
}

// COMMAND GETKEYSANDFLAGS command [word ...]
func cmdCommandGetKeysAndFlags(c *conn, a *resp.Args) resp.Reply {
	found := []resp.Reply{}
	bad := c.srv.table.keysOf(a.Rest(), func(key []byte, access string) {
		found = append(found, resp.Array(resp.Bulk(key), resp.Set(simples(strings.Fields(access))...)))
	})
	if bad.IsError() {
		return bad
	}
	return resp.Array(found...)
}

// named finds a row by its full name, "client|kill" for a subcommand.
func (t *table) named(name []byte) *command {
	if len(name) >= longestName {
		return nil
	}
	return t.byName[resp.Lower(name)]
}

// keysOf visits the keys of a whole command with what is done to each.
func (t *table) keysOf(words [][]byte, visit func(key []byte, access string)) resp.Reply {
	row, _, bad := t.lookup(words)
	if bad.IsError() {
		return resp.ErrInvalidCommand
	}
	d, _ := docOf(row)
	if row.keys == noKeys || d.access == notKey {
		return resp.ErrNoKeyArguments
	}
	if !row.checkArity(words) {
		return resp.ErrInvalidNumberArgs
	}
	if at := row.keys.numkeys; at > 0 {
		if n, ok := resp.ParseInt(words[at]); !ok || n > int64(len(words)-at-1) {
			return resp.None // the command itself would complain
		}
	}
	access := strings.Split(d.access, "; ")
	if strings.HasSuffix(d.access, variableFlags) && !setReads(words) {
		access[0] = "OW update"
	}
	at := 0
	row.keys.each(words, func(key []byte) {
		visit(key, strings.TrimSuffix(access[min(at, len(access)-1)], variableFlags))
		at++
	})
	return resp.None
}

// How doc.access marks a channel that stands where a key would, and a command
// whose options decide what it does to its key.
const (
	notKey        = "not_key"
	variableFlags = " variable_flags"
)

// setReads tells whether a SET looks at the value it replaces.
func setReads(words [][]byte) bool {
	for _, w := range words[min(3, len(words)):] {
		if resp.EqualFold(w, "GET") || resp.EqualFold(w, "IFEQ") || resp.EqualFold(w, "IFNE") {
			return true
		}
	}
	return false
}

// infoReply is a row as COMMAND INFO shows it.
func infoReply(row *command) resp.Reply {
	d, _ := docOf(row)
	subs := make([]resp.Reply, len(row.subs))
	for i := range row.subs {
		subs[i] = infoReply(&row.subs[i])
	}
	return resp.Array(
		resp.BulkString(row.name),
		resp.Int(int64(row.arity)),
		resp.Set(simples(row.flagNames())...),
		resp.Int(int64(row.keys.first)),
		resp.Int(int64(row.keys.last)),
		resp.Int(int64(row.keys.step)),
		resp.Set(simples(row.categories())...),
		resp.Set(bulks(strings.Fields(d.tips)...)...),
		resp.Set(keySpecs(row.keys, d.access)...),
		resp.Set(subs...),
	)
}

// flagNames is the row's flags as COMMAND INFO spells and orders them.
func (row *command) flagNames() []string {
	var names []string
	for _, f := range [...]struct {
		flag flags
		name string
	}{
		{write, "write"}, {readonly, "readonly"}, {denyOOM, "denyoom"}, {admin, "admin"}, {pubsubFlag, "pubsub"},
		{noScript, "noscript"}, {blocking, "blocking"}, {loading, "loading"}, {stale, "stale"},
		{skipMonitor, "skip_monitor"}, {skipSlowlog, "skip_slowlog"}, {fast, "fast"}, {noAuth, "no_auth"},
		{noMandatoryKeys, "no_mandatory_keys"}, {noAsyncLoading, "no_async_loading"},
		{noMulti, "no_multi"}, {movableKeys, "movablekeys"}, {allowBusy, "allow_busy"},
	} {
		if row.flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// categories is the row's ACL categories in Redis's order. Most follow from
// its flags.
func (row *command) categories() []string {
	f := row.flags
	var names []string
	for _, category := range [...]struct {
		name string
		has  bool
	}{
		{"@keyspace", f&catKeyspace != 0},
		{"@read", f&readonly != 0 && f&catScripting == 0},
		{"@write", f&write != 0},
		{"@string", f&catString != 0},
		{"@pubsub", f&pubsubFlag != 0},
		{"@admin", f&(admin|catAdmin) != 0},
		{"@fast", f&fast != 0},
		{"@slow", f&fast == 0},
		{"@blocking", f&blocking != 0},
		{"@dangerous", f&(admin|catDangerous) != 0},
		{"@connection", f&catConnection != 0},
		{"@transaction", f&catTransaction != 0},
		{"@scripting", f&catScripting != 0},
	} {
		if category.has {
			names = append(names, category.name)
		}
	}
	return names
}

// keySpecs says where the keys stand, in the notation of COMMAND INFO.
func keySpecs(k keyRule, access string) []resp.Reply {
	if k == noKeys {
		return nil
	}
	if k.numkeys > 0 {
		find := resp.Map(
			resp.BulkString("type"), resp.BulkString("keynum"),
			resp.BulkString("spec"), resp.Map(
				resp.BulkString("keynumidx"), resp.Zero,
				resp.BulkString("firstkey"), resp.One,
				resp.BulkString("keystep"), resp.One))
		return []resp.Reply{keySpec(access, k.numkeys, find)}
	}
	each := strings.Split(access, "; ")
	last := k.last
	if last > 0 {
		last -= k.first
	}
	if len(each) > 1 {
		last = 0 // a spec of its own for each key
	}
	specs := make([]resp.Reply, len(each))
	for i, access := range each {
		find := resp.Map(
			resp.BulkString("type"), resp.BulkString("range"),
			resp.BulkString("spec"), resp.Map(
				resp.BulkString("lastkey"), resp.Int(int64(last)),
				resp.BulkString("keystep"), resp.Int(int64(k.step)),
				resp.BulkString("limit"), resp.Zero))
		specs[i] = keySpec(access, k.first+i, find)
	}
	return specs
}

func keySpec(access string, begin int, find resp.Reply) resp.Reply {
	return resp.Map(
		resp.BulkString("flags"), resp.Set(simples(strings.Fields(access))...),
		resp.BulkString("begin_search"), resp.Map(
			resp.BulkString("type"), resp.BulkString("index"),
			resp.BulkString("spec"), resp.Map(resp.BulkString("index"), resp.Int(int64(begin)))),
		resp.BulkString("find_keys"), find)
}

func simples(texts []string) []resp.Reply {
	list := make([]resp.Reply, len(texts))
	for i, t := range texts {
		list[i] = resp.Simple(t)
	}
	return list
}

// COMMAND HELP
func cmdCommandHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("COMMAND",
		"(no subcommand)",
		"    Return details about all Redis commands.",
		"COUNT",
		"    Return the total number of commands in this Redis server.",
		"LIST",
		"    Return a list of all commands in this Redis server.",
		"INFO [<command-name> ...]",
		"    Return details about multiple Redis commands.",
		"    If no command names are given, documentation details for all",
		"    commands are returned.",
		"DOCS [<command-name> ...]",
		"    Return documentation details about multiple Redis commands.",
		"    If no command names are given, documentation details for all",
		"    commands are returned.",
		"GETKEYS <full-command>",
		"    Return the keys from a full Redis command.",
		"GETKEYSANDFLAGS <full-command>",
		"    Return the keys and the access flags from a full Redis command.")
}
