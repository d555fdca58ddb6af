package server

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

const compatibilityPage = "../docs/compatibility.md"

// docs/compatibility.md is written from the table and from differences.txt, so
// that it cannot say what is not so: go test ./server -run Compatibility -rewrite
func TestCompatibilityPage(t *testing.T) {
	page := compatibility(t)
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(compatibilityPage, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(compatibilityPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, page) {
		t.Errorf("%s is not what the table and differences.txt say: go test ./server -run Compatibility -rewrite", compatibilityPage)
	}
}

func compatibility(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Compatibility

Commands, options, error texts and reply shapes are those of Redis %s in RESP2 and RESP3. Each of them is compared byte for byte
with a running redis-server by the conversations in `+"`server/testdata`"+`. This page is written from the command table and from
`+"`server/testdata/differences.txt`"+` by `+"`go test ./server -run Compatibility -rewrite`"+`.

## Commands

What is not in this table answers Redis's unknown-command error: collections, streams, SORT, DUMP and RESTORE, MIGRATE,
functions, replication, modules.

| group | command | what it does |
|---|---|---|
`, RedisVersion)
	rows := newTable(allRows()...)
	for _, g := range docGroups {
		for _, row := range rows.all {
			d, group := docOf(row)
			if group != g.name {
				continue
			}
			name := strings.ToUpper(row.name)
			if len(row.subs) > 0 {
				var subs []string
				for _, sub := range row.subs {
					_, word, _ := strings.Cut(sub.name, "|")
					subs = append(subs, strings.ToUpper(word))
				}
				name += " " + strings.Join(subs, ", ")
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", group, name, d.does)
		}
	}
	b.WriteString("\n## Differences\n\nWhere crema answers otherwise than Redis on purpose.\n\n")
	text, err := os.ReadFile("testdata/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if id, reason, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(id, "#") {
			fmt.Fprintf(&b, "* **%s**: %s\n", id, reason)
		}
	}
	b.WriteString(beyondReplies)
	return b.Bytes()
}

// beyondReplies are differences that no single reply shows.
const beyondReplies = `
And what no single reply shows:

* A script can be stopped at any time, after writes too, and has then changed nothing, so UNKILLABLE is never answered. One stopped
  inside MULTI takes its whole transaction with it.
* DEBUG SLEEP holds up the connection that asks, not everybody; DEBUG is answered to clients on this machine by default.
* A client that does not read its replies is no longer read from; Redis keeps the replies in memory.
* Patterns of KEYS, SCAN and PSUBSCRIBE have 4 KiB at most, client names 1 KiB, all of one reply 1 GiB.
* MONITOR clients are bounded by the pubsub class of client-output-buffer-limit.
* ` + "`--port 0`" + ` takes any free port and prints it.
`
