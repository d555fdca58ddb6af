package server

import (
	"slices"
	"strings"
	"testing"
)

func TestKeyRuleEach(t *testing.T) {
	for _, c := range []struct {
		rule        keyRule
		words, want string
	}{
		{noKeys, "ping a b", ""},
		{key(1), "get a", "a"},
		{key(2), "object|encoding encoding a", "a"},
		{key(1), "get", ""},
		{keys(1, 2, 1), "rename a b", "a b"},
		{keys(1, 2, 1), "rename a", "a"},
		{keys(1, -1, 1), "del a b c", "a b c"},
		{keys(1, -1, 2), "mset a 1 b 2", "a b"},
		{keys(1, -1, 2), "mset a 1 b", "a b"},
		{keys(1, -1, 1), "del", ""},
		{keys(1, -2, 1), "x a b last", "a b"},
		{keys(1, -2, 1), "x", ""},
		{numKeys(2), "eval s 2 a b c", "a b"},
		{numKeys(2), "eval s 0 a", ""},
		{numKeys(2), "eval s -1 a", ""},
		{numKeys(2), "eval s 9223372036854775807 a b", "a b"},
		{numKeys(2), "eval s x a b", ""},
		{numKeys(2), "eval s", ""},
	} {
		var words [][]byte
		for _, w := range strings.Fields(c.words) {
			words = append(words, []byte(w))
		}
		var got []string
		c.rule.each(words, func(key []byte) { got = append(got, string(key)) })
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%+v of %q: %q, want %q", c.rule, c.words, got, c.want)
		}
	}
}
