package server

import (
	"strings"
	"testing"
)

// Every row is documented, every documented command is a row, and every syntax
// can be read.
func TestDocs(t *testing.T) {
	rows := newTable(allRows()...).byName
	for name, row := range rows {
		d, group := docOf(row)
		if group == "" {
			t.Errorf("%s has no documentation", name)
			continue
		}
		if d.does == "" || !strings.HasSuffix(d.does, ".") || d.since == "" || d.cost == "" {
			t.Errorf("%s: what it does, since when and at what cost: %q, %q, %q", name, d.does, d.since, d.cost)
		}
		if (row.keys == noKeys) != (d.access == "") {
			t.Errorf("%s: keys %v are accessed %q", name, row.keys, d.access)
		}
		docsReply(row)
	}
	for _, g := range docGroups {
		for name := range g.docs {
			if rows[name] == nil {
				t.Errorf("%s is documented but is no command", name)
			}
		}
	}
}
