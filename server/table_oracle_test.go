package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"crema/server"
)

// Every row that Redis 7.0 has too says of itself what Redis says.
func TestRowsAgreeWithRedis(t *testing.T) {
	c, err := dial(startOracle(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	compared := 0
	for _, row := range server.Rows() {
		info := c.do("COMMAND", "INFO", row.Name).frame
		if len(info.elems) != 1 || info.elems[0].null {
			continue // later than 7.0
		}
		compared++
		of := info.elems[0].elems
		var flags []string
		for _, f := range of[2].elems {
			flags = append(flags, f.text)
		}
		slices.Sort(flags)
		slices.Sort(row.Flags)
		want := fmt.Sprint(of[1].text, " ", flags, " ", of[3].text, of[4].text, of[5].text)
		got := fmt.Sprint(row.Arity, " ", row.Flags, " ", row.First, row.Last, row.Step)
		if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: arity, flags, first, last and step are %s, Redis has %s", row.Name, got, want)
		}
	}
	if compared < 50 {
		t.Errorf("compared %d rows only", compared)
	}
}
