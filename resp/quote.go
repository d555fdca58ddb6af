package resp

const hexDigits = "0123456789abcdef"

// AppendQuoted appends b in double quotes the way MONITOR and SLOWLOG show
// words (Redis's sdscatrepr): printable ASCII as it is, the rest escaped.
func AppendQuoted(dst, b []byte) []byte {
	dst = append(dst, '"')
	for _, c := range b {
		switch c {
		case '\\', '"':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\a':
			dst = append(dst, '\\', 'a')
		case '\b':
			dst = append(dst, '\\', 'b')
		default:
			if ' ' <= c && c <= '~' {
				dst = append(dst, c)
			} else {
				dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			}
		}
	}
	return append(dst, '"')
}

// SplitLine splits a line into words by Redis's quoting rules (sdssplitargs):
// "…" knows \n \r \t \b \a, \x41 and a backslash before anything else, '…'
// knows only \', and a closing quote ends its word. It is false if a quote is
// unbalanced. The words are copies.
func SplitLine(line []byte) ([][]byte, bool) {
	return splitInPlace(nil, append([]byte(nil), line...))
}

// splitInPlace is SplitLine that writes the words over the line they come
// from, which never are longer, and appends them to words.
func splitInPlace(words [][]byte, line []byte) ([][]byte, bool) {
	for at := 0; ; {
		for at < len(line) && isSpace(line[at]) {
			at++
		}
		if at == len(line) {
			return words, true
		}
		size, next, ok := unquote(line[at:])
		if !ok {
			return words, false
		}
		words = append(words, line[at:at+size:at+size])
		at += next
	}
}

// unquote reads the word at the beginning of line and writes it there. The
// word is line[:size], what follows it begins at next.
func unquote(line []byte) (size, next int, ok bool) {
	quote := byte(0) // the quote we are inside of
	for next < len(line) {
		c := line[next]
		left := line[next+1:]
		switch {
		case quote == 0 && (c == ' ' || c == '\n' || c == '\r' || c == '\t'):
			return size, next, true
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
			next++
			continue
		case quote != 0 && c == quote:
			// A closing quote is followed by a space or by nothing.
			return size, next + 1, len(left) == 0 || isSpace(left[0])
		case quote == '"' && c == '\\' && len(left) >= 3 && left[0] == 'x' && isHex(left[1]) && isHex(left[2]):
			c = hexValue(left[1])<<4 | hexValue(left[2])
			next += 3
		case quote == '"' && c == '\\' && len(left) > 0:
			c = unescape(left[0])
			next++
		case quote == '\'' && c == '\\' && len(left) > 0 && left[0] == '\'':
			c = '\''
			next++
		}
		line[size] = c
		size++
		next++
	}
	return size, next, quote == 0
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
