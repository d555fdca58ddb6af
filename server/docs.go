package server

import (
	"strings"

	"crema/resp"
)

// doc is what COMMAND DOCS and COMMAND INFO say about a row beside what the
// row itself says. Every row has one; a row in the table without one fails a
// test.
type doc struct {
	since, cost, does string
	syntax            string // see parseSyntax
	access            string // what is done to the keys, in Redis's words; "a; b" for the first key and the second
	tips              string // separated by spaces
	until, instead    string // deprecated since when, and what to use
}

// docGroups is every group of commands, by Redis's name for it.
var docGroups = []struct {
	name string
	docs map[string]doc
}{
	{"string", stringDocs},
	{"generic", keyDocs},
	{"connection", connectionDocs},
	{"pubsub", pubsubDocs},
	{"transactions", transactionDocs},
	{"scripting", scriptDocs},
	{"server", serverDocs},
	{"cluster", clusterDocs},
}

// docOf finds a row's documentation and the group it stands in.
func docOf(row *command) (d doc, group string) {
	for _, g := range docGroups {
		if d, ok := g.docs[row.name]; ok {
			return d, g.name
		}
	}
	return doc{}, ""
}

// docsReply is a row's value in COMMAND DOCS.
func docsReply(row *command) resp.Reply {
	d, group := docOf(row)
	pairs := bulks("summary", d.does, "since", d.since, "group", group, "complexity", d.cost)
	if d.until != "" {
		pairs = append(pairs, resp.BulkString("doc_flags"), resp.Set(resp.Simple("deprecated")))
		pairs = append(pairs, bulks("deprecated_since", d.until, "replaced_by", d.instead)...)
	}
	if d.syntax != "" {
		pairs = append(pairs, resp.BulkString("arguments"), resp.Array(parseSyntax(d.syntax)...))
	}
	if len(row.subs) > 0 {
		var subs []resp.Reply
		for i := range row.subs {
			sub := &row.subs[i]
			subs = append(subs, resp.BulkString(sub.name), docsReply(sub))
		}
		pairs = append(pairs, resp.BulkString("subcommands"), resp.Map(subs...))
	}
	return resp.Map(pairs...)
}

// parseSyntax turns a command's syntax into the tree of arguments that COMMAND
// DOCS shows:
//
//	name            a string; name:int, :double, :time, :pattern, :key, :key1
//	                (a key of the second key spec) are the other types
//	TOKEN           a word to be written as it stands; name=TOKEN names it
//	TOKEN name      an argument that follows a word
//	name(a | b)     one of
//	name{a b}       all of, in this order
//	[a]             may be left out
//	a...            may be repeated; a...+ with its token each time
func parseSyntax(syntax string) []resp.Reply {
	p := syntaxParser{rest: syntax}
	args := p.list("")
	if p.rest != "" {
		panic("syntax " + syntax + ": cannot read " + p.rest)
	}
	return args
}

// syntaxParser reads a syntax from left to right. The syntaxes are our own, so
// a mistake in one panics, in the test that parses them all.
type syntaxParser struct{ rest string }

// list reads arguments up to one of the closing characters.
func (p *syntaxParser) list(until string) []resp.Reply {
	var args []resp.Reply
	for {
		p.rest = strings.TrimLeft(p.rest, " |")
		if p.rest == "" || strings.Contains(until, p.rest[:1]) {
			return args
		}
		args = append(args, p.arg())
	}
}

// argTypes are the types' names behind the colon and in Redis.
var argTypes = map[string]string{"": "string", "int": "integer", "double": "double", "time": "unix-time", "pattern": "pattern", "key": "key", "key1": "key"}

// arg reads one argument.
func (p *syntaxParser) arg() resp.Reply {
	optional := p.skip("[")
	name, kind, token := p.word(), "", ""
	if name == "" {
		panic("syntax: a name expected before " + p.rest)
	}
	if name == strings.ToUpper(name) {
		name, token, kind = strings.ToLower(name), name, "pure-token"
		if next := strings.TrimPrefix(p.rest, " "); next != p.rest && next != "" && !strings.Contains("[|", next[:1]) && next[0] >= 'a' {
			p.rest = next
			name, kind = p.word(), ""
		}
	} else if alias, word, ok := strings.Cut(name, "="); ok {
		name, token, kind = alias, word, "pure-token"
	}

	var below []resp.Reply
	keySpec := ""
	switch {
	case kind != "":
	case p.skip("("):
		kind, below = "oneof", p.list(")")
		p.must(")")
	case p.skip("{"):
		kind, below = "block", p.list("}")
		p.must("}")
	default:
		bare, suffix, _ := strings.Cut(name, ":")
		if known, ok := argTypes[suffix]; ok {
			name, kind = bare, known
		} else {
			kind = "string" // a name with a colon, such as ip:port
		}
		keySpec = suffix
	}
	var flags []resp.Reply
	multiple := p.skip("...")
	again := multiple && p.skip("+")
	if optional {
		p.must("]")
		multiple = multiple || p.skip("...")
		flags = append(flags, resp.Simple("optional"))
	}
	if multiple {
		flags = append(flags, resp.Simple("multiple"))
	}
	if again {
		flags = append(flags, resp.Simple("multiple_token"))
	}

	pairs := bulks("name", name, "type", kind)
	if kind == "key" {
		index := int64(0)
		if keySpec == "key1" {
			index = 1
		}
		pairs = append(pairs, resp.BulkString("key_spec_index"), resp.Int(index))
	}
	if token != "" {
		pairs = append(pairs, bulks("token", token)...)
	}
	if flags != nil {
		pairs = append(pairs, resp.BulkString("flags"), resp.Set(flags...))
	}
	if below != nil {
		pairs = append(pairs, resp.BulkString("arguments"), resp.Array(below...))
	}
	return resp.Map(pairs...)
}

// word reads up to the next character that has a meaning here.
func (p *syntaxParser) word() string {
	end := strings.IndexAny(p.rest, " |()[]{}")
	if end < 0 {
		end = len(p.rest)
	}
	if dots := strings.Index(p.rest[:end], "..."); dots >= 0 {
		end = dots
	}
	w := p.rest[:end]
	p.rest = p.rest[end:]
	return w
}

func (p *syntaxParser) skip(text string) bool {
	rest, ok := strings.CutPrefix(p.rest, text)
	p.rest = rest
	return ok
}

func (p *syntaxParser) must(text string) {
	if !p.skip(text) {
		panic("syntax: " + text + " expected before " + p.rest)
	}
}

// bulks is a list of bulk strings, to build maps from.
func bulks(texts ...string) []resp.Reply {
	list := make([]resp.Reply, len(texts))
	for i, t := range texts {
		list[i] = resp.BulkString(t)
	}
	return list
}
