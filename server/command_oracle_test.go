package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"crema/server"
)

// later are the words that Redis 7.0 does not know of its commands: what the
// same words of ours look like without them.
var later = strings.NewReplacer(
	" {name=ifeq-value type=string token=IFEQ} {name=ifne-value type=string token=IFNE}", "",
)

// What COMMAND INFO and COMMAND DOCS say of a command that Redis 7.0 has too is
// what Redis says, but for the wording: summaries, complexities and notes are
// ours.
func TestCommandAgreesWithRedis(t *testing.T) {
	oracle := connect(t, startOracle(t))
	crema := connect(t, startCrema(t, nil))
	compared := 0
	for _, row := range server.Rows() {
		want := oracle.do("COMMAND", "INFO", row.Name).frame
		if len(want.elems) != 1 || want.elems[0].null {
			continue // later than 7.0
		}
		compared++
		got := crema.do("COMMAND", "INFO", row.Name).frame
		if w, g := infoText(want.elems[0]), infoText(got.elems[0]); w != g {
			t.Errorf("COMMAND INFO %s\n got %s\nwant %s", row.Name, g, w)
		}
		want, got = oracle.do("COMMAND", "DOCS", row.Name).frame, crema.do("COMMAND", "DOCS", row.Name).frame
		w, g := docsOf(want.elems[1]), docsOf(got.elems[1])
		if g = later.Replace(g); w != g {
			t.Errorf("COMMAND DOCS %s\n got %s\nwant %s", row.Name, g, w)
		}
	}
	if compared < 150 {
		t.Errorf("compared %d rows only", compared)
	}
}

// infoText is an entry of COMMAND INFO without its subcommands, which are rows
// of their own, and with its key specs in words.
func infoText(f frame) string {
	var b strings.Builder
	for _, i := range []int{1, 2, 3, 4, 5, 6, 7} {
		e := f.elems[i]
		if len(e.elems) == 0 {
			fmt.Fprint(&b, e.text, " ")
			continue
		}
		var names []string
		for _, x := range e.elems {
			names = append(names, x.text)
		}
		slices.Sort(names)
		fmt.Fprint(&b, names, " ")
	}
	for _, spec := range f.elems[8].elems {
		m := fields(spec)
		fmt.Fprint(&b, "{", flat(m["flags"]), " begin ", flat(m["begin_search"]), " find ", flat(m["find_keys"]), "} ")
	}
	return b.String()
}

// docsOf is a value of COMMAND DOCS without what is said in words.
func docsOf(f frame) string {
	m := fields(f)
	text := m["since"].text + " " + m["group"].text
	for _, name := range []string{"doc_flags", "deprecated_since", "replaced_by"} {
		if v, ok := m[name]; ok && v.text != "syscmd" && !(len(v.elems) == 1 && v.elems[0].text == "syscmd") {
			text += " " + flat(v)
		}
	}
	for _, arg := range m["arguments"].elems {
		text += " " + argText(arg)
	}
	return text
}

func argText(f frame) string {
	m := fields(f)
	text := "{name=" + m["name"].text + " type=" + m["type"].text
	for _, name := range []string{"key_spec_index", "token"} {
		if v, ok := m[name]; ok {
			text += " " + name + "=" + v.text
		}
	}
	if v, ok := m["flags"]; ok {
		text += " " + flat(v)
	}
	for _, arg := range m["arguments"].elems {
		text += " " + argText(arg)
	}
	return text + "}"
}

// fields is a map that came as one or as a flat array.
func fields(f frame) map[string]frame {
	m := map[string]frame{}
	for i := 0; i+1 < len(f.elems); i += 2 {
		m[f.elems[i].text] = f.elems[i+1]
	}
	return m
}

// flat is every text in a frame.
func flat(f frame) string { return strings.Join(strings.Fields(f.words()), " ") }

// The shapes in RESP3: sets and maps where Redis has them.
func TestCommandShapes(t *testing.T) {
	oracle := connect(t, startOracle(t))
	crema := connect(t, startCrema(t, nil))
	for _, c := range []*client{oracle, crema} {
		c.do("HELLO", "3")
	}
	for _, words := range [][]string{
		{"COMMAND", "INFO", "rename", "nosuch", "client|id", "mget"},
		{"COMMAND", "GETKEYSANDFLAGS", "SET", "k", "v", "GET"},
		{"COMMAND", "GETKEYSANDFLAGS", "SET", "k", "v"},
		{"COMMAND", "GETKEYSANDFLAGS", "COPY", "a", "b"},
		{"COMMAND", "GETKEYS", "EVAL", "s", "2", "a", "b", "c"},
		{"COMMAND", "GETKEYS", "EVAL", "s", "3", "a", "b"},
		{"COMMAND", "GETKEYS", "EVAL", "s", "0"},
		{"COMMAND", "GETKEYS", "GET", "a", "b"},
		{"COMMAND", "GETKEYS", "PING", "a"},
		{"COMMAND", "GETKEYS", "NOSUCH", "a"},
		{"COMMAND", "GETKEYS", "SSUBSCRIBE", "a"},
		{"COMMAND", "LIST", "FILTERBY", "PATTERN", "time"},
		{"COMMAND", "LIST", "FILTERBY", "MODULE", "x"},
		{"COMMAND", "LIST", "FILTERBY", "NOSUCH", "x"},
		{"CLIENT", "TRACKINGINFO"},
		{"CONFIG", "GET", "databases"},
		{"LATENCY", "HISTORY", "nosuch"},
	} {
		want, got := oracle.do(words...).frame.render(), crema.do(words...).frame.render()
		if want != got {
			t.Errorf("%s\n got %s\nwant %s", strings.Join(words, " "), got, want)
		}
	}
}
