package resp

// Match tells whether s matches a glob the way Redis's stringmatchlen does:
// * any run of bytes, ? one byte, [abc] [^abc] [a-z] one byte of a class,
// \x the byte x. nocase ignores the case of ASCII letters.
//
// Every element but * takes exactly one byte, so after a mismatch only the
// last * needs to be stretched: at most len(pattern) × len(s) steps, where a
// matcher that goes back to every * would need exponentially many.
//
// Like Redis, no pattern but the empty one matches the empty string, not even *.
func Match(pattern, s []byte, nocase bool) bool {
	if len(s) == 0 {
		return len(pattern) == 0
	}
	star, stretched := -1, 0 // the pattern behind the last *, and where in s it was last tried
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				p = skipStars(pattern, p)
				if p == len(pattern) {
					return true
				}
				star, stretched = p, i
				continue
			}
			if next, ok := matchOne(pattern, p, s[i], nocase); ok {
				p = next
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		stretched++
		p, i = star, stretched
	}
	return skipStars(pattern, p) == len(pattern)
}

func skipStars(pattern []byte, p int) int {
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p
}

// matchOne matches one byte against the element at pattern[p], which is not a
// *, and tells where the next element begins.
func matchOne(pattern []byte, p int, c byte, nocase bool) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return matchClass(pattern, p+1, c, nocase)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, fold(pattern[p], nocase) == fold(c, nocase)
}

// matchClass matches one byte against the class whose first member is at
// pattern[p]. A class without its ] ends with the pattern. A byte behind a
// backslash is compared in its own case even with nocase, and the ends of a
// range may come in either order and compare as signed bytes: all as Redis.
func matchClass(pattern []byte, p int, c byte, nocase bool) (next int, ok bool) {
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	found := false
	for p < len(pattern) && pattern[p] != ']' {
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			found = found || pattern[p] == c
		case p+2 < len(pattern) && pattern[p+1] == '-':
			low, high := pattern[p], pattern[p+2]
			if int8(low) > int8(high) {
				low, high = high, low
			}
			at := int8(fold(c, nocase))
			found = found || int8(fold(low, nocase)) <= at && at <= int8(fold(high, nocase))
			p += 2
		default:
			found = found || fold(pattern[p], nocase) == fold(c, nocase)
		}
		p++
	}
	if p < len(pattern) {
		p++ // the ]
	}
	return p, found != not
}

func fold(c byte, nocase bool) byte {
	if nocase && 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
