package server

import (
	"bytes"
	"math"
	"strconv"

	"crema/resp"
	"crema/store"
)

func scanRows() []command {
	return []command{
		{"scan", -2, readonly | catKeyspace | allShards, noKeys, data(cmdScan)},
	}
}

// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
func cmdScan(tx *store.Tx, a *resp.Args) resp.Reply {
	at := cursor(a)
	count := int64(10)
	var pattern, kind []byte
	for a.More() && !a.Failed() {
		switch {
		case a.Left() > 1 && a.Match("MATCH"):
			if pattern = a.Bytes(); len(pattern) > maxPatternBytes {
				a.Fail(resp.ErrPatternTooLong)
			}
		case a.Left() > 1 && a.Match("COUNT"):
			if count = a.Int(); count < 1 {
				a.Fail(resp.ErrSyntax)
			}
		case a.Left() > 1 && a.Match("TYPE"):
			kind = a.Bytes()
		default:
			a.Fail(resp.ErrSyntax)
		}
	}
	if a.Failed() {
		return a.Err()
	}
	filtered := kind != nil && !resp.EqualFold(kind, "STRING") // the only type there is
	found := []resp.Reply{}
	next := tx.Scan(at, int(min(count, math.MaxInt32)), func(key []byte, _ store.Entry) {
		if !filtered && (pattern == nil || matches(pattern, key)) {
			found = append(found, resp.Bulk(key))
		}
	})
	return resp.Array(resp.Bulk(strconv.AppendUint(nil, next, 10)), resp.Array(found...))
}

// cursor reads SCAN's cursor the way C's strtoul does, which Redis leaves it
// to: an empty word is 0, and a sign is allowed.
func cursor(a *resp.Args) uint64 {
	word := a.Bytes()
	if nul := bytes.IndexByte(word, 0); nul >= 0 {
		word = word[:nul]
	}
	if len(word) == 0 {
		return 0
	}
	digits, negative := word, word[0] == '-'
	if negative || word[0] == '+' {
		digits = word[1:]
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		a.Fail(resp.ErrCursor)
	}
	if negative {
		return -n
	}
	return n
}
