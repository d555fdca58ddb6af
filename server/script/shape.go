package script

import (
	"slices"
	"strconv"
	"strings"
)

// maxShape bounds the sources that are looked at closely: in bytes.
const maxShape = 2 << 10

// Shape is a script without what Lua does not look at. Two scripts of one shape
// do the same, but for the words of their string literals. A shape is tokens
// with a space between them; comments and semicolons are left out, locals are
// called v1, v2 … in the order in which they appear, and a literal is in single
// quotes and in lower case. The literals as they are spelled are the words.
//
// No shape, "", has what is told apart otherwise: a literal with an escape or a
// quote in it, a number that is not of digits alone, a long bracket, a word or a sign
// that lock scripts have no use for, and every source over maxShape.
func Shape(source []byte) (shape string, words []string) {
	if len(source) > maxShape {
		return "", nil
	}
	var b strings.Builder
	locals := map[string]string{}
	for s := string(source); ; {
		s = afterSpace(s)
		if s == "" {
			return strings.TrimSuffix(b.String(), " "), words
		}
		n := tokenLength(s)
		if n == 0 {
			return "", nil
		}
		token := s[:n]
		s = s[n:]
		switch c := token[0]; {
		case c == ';':
			continue
		case c == '\'' || c == '"':
			words = append(words, token[1:n-1])
			token = "'" + strings.ToLower(token[1:n-1]) + "'"
		case isLetter(c) && !slices.Contains(kept, token):
			name := locals[token]
			if name == "" {
				name = "v" + strconv.Itoa(len(locals)+1)
				locals[token] = name
			}
			token = name
		}
		b.WriteString(token)
		b.WriteByte(' ')
	}
}

// kept are the words that mean something by themselves. Every other is taken for
// a local's name, so a shape that declares its locals and has these words has
// no others.
var kept = strings.Fields("and do else elseif end false for if in local nil not or repeat return then true until while function break " +
	"KEYS ARGV redis call pcall ipairs tonumber")

// afterSpace is what follows blanks and comments. The long comments, which may
// have anything in them, are left to be no token.
func afterSpace(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if !strings.HasPrefix(s, "--") || strings.HasPrefix(s, "--[") {
			return s
		}
		end := strings.IndexAny(s, "\r\n")
		if end < 0 {
			return ""
		}
		s = s[end:]
	}
}

// tokenLength is how long the token is that s begins with, 0 if there is none.
func tokenLength(s string) int {
	switch c := s[0]; {
	case isLetter(c):
		return span(s, func(c byte) bool { return isLetter(c) || isDigit(c) })
	case isDigit(c):
		n := span(s, isDigit)
		if n < len(s) && (isLetter(s[n]) || s[n] == '.') {
			return 0
		}
		return n
	case c == '\'' || c == '"':
		n := 1 + span(s[1:], func(d byte) bool { return strings.IndexByte("'\"\\\r\n", d) < 0 })
		if n < len(s) && s[n] == c {
			return n + 1
		}
		return 0
	case strings.HasPrefix(s, "--") || strings.HasPrefix(s, ".."):
		return 0
	case strings.HasPrefix(s, "==") || strings.HasPrefix(s, "~=") || strings.HasPrefix(s, "<=") || strings.HasPrefix(s, ">="):
		return 2
	case strings.HasPrefix(s, "[[") || strings.HasPrefix(s, "[="):
		return 0
	case strings.IndexByte("=<>+-#.,;()[]", c) >= 0:
		return 1
	}
	return 0
}

func span(s string, in func(byte) bool) int {
	for i := range len(s) {
		if !in(s[i]) {
			return i
		}
	}
	return len(s)
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
