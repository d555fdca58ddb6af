package server_test

import (
	"bufio"
	"crypto/sha1"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"crema/resp"
)

// frame is one reply exactly as it came. It is read without the product's own
// decoder: what judges the wire shares no code with what writes it.
type frame struct {
	kind  byte // the byte that opened it: + - : $ * _ , # ( = ! % ~ > |, or several for a sequence
	text  string
	elems []frame // of a map: keys and values, alternating
	null  bool    // $-1 or *-1
}

// several is the kind of a sequence of replies, which the wire does not have.
const several = 'S'

// readFrame reads one reply and appends its bytes to raw.
func readFrame(br *bufio.Reader, raw *[]byte) (frame, error) {
	line, err := br.ReadString('\n')
	*raw = append(*raw, line...)
	if err != nil {
		return frame{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return frame{}, fmt.Errorf("not a reply: %q", line)
	}
	f := frame{kind: line[0], text: line[1 : len(line)-2]}
	switch f.kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return f, nil
	case '$', '=', '!':
		n, err := strconv.Atoi(f.text)
		if err != nil || n < -1 {
			return f, fmt.Errorf("not a length: %q", line)
		}
		if n == -1 {
			f.null = true
			return f, nil
		}
		body := make([]byte, n+2)
		_, err = io.ReadFull(br, body)
		*raw = append(*raw, body...)
		if err == nil && string(body[n:]) != "\r\n" {
			err = fmt.Errorf("bulk of %d bytes does not end in CRLF", n)
		}
		f.text = string(body[:n])
		return f, err
	case '*', '~', '>', '%', '|':
		n, err := strconv.Atoi(f.text)
		if err != nil || n < -1 {
			return f, fmt.Errorf("not a count: %q", line)
		}
		if n == -1 {
			f.null = true
			return f, nil
		}
		if f.kind == '%' || f.kind == '|' {
			n *= 2
		}
		for range n {
			elem, err := readFrame(br, raw)
			if err != nil {
				return f, err
			}
			f.elems = append(f.elems, elem)
		}
		return f, nil
	}
	return f, fmt.Errorf("unknown kind of reply: %q", line)
}

// longestShown is how much of a bulk a conversation shows in full.
const longestShown = 400

// render shows a reply so that two different replies never look alike.
func (f frame) render() string {
	switch f.kind {
	case '+':
		if f.text == "" || strings.ContainsRune("+(\"#!>~$0123456789", rune(f.text[0])) {
			return "+" + printable(f.text)
		}
		return printable(f.text)
	case '-':
		return "(error) " + printable(f.text)
	case ':':
		return "(integer) " + f.text
	case '_':
		return "(null)"
	case ',':
		return "(double) " + f.text
	case '#':
		return map[string]string{"t": "(true)", "f": "(false)"}[f.text]
	case '(':
		return "(big number) " + f.text
	case '=':
		if len(f.text) < 4 {
			return "(verbatim) " + quoted(f.text)
		}
		return "(verbatim " + f.text[:3] + ") " + quoted(f.text[4:])
	case '!':
		return "(blob error) " + quoted(f.text)
	case '$':
		if f.null {
			return "(nil)"
		}
		return quoted(f.text)
	}
	if f.null {
		return "(nil array)"
	}
	if f.kind == several {
		var all []string
		for _, e := range f.elems {
			all = append(all, e.render())
		}
		if all == nil {
			return "(nothing)"
		}
		return strings.Join(all, "\n")
	}
	if len(f.elems) == 0 {
		return map[byte]string{'*': "(empty array)", '~': "(empty set)", '>': "(empty push)", '%': "(empty map)", '|': "(empty attribute)"}[f.kind]
	}
	var b strings.Builder
	marks := map[byte]string{'*': ") ", '~': "~ ", '>': "> ", '%': "# ", '|': "| "}
	if f.kind == '%' || f.kind == '|' {
		for i := 0; i+1 < len(f.elems); i += 2 {
			key := strconv.Itoa(i/2+1) + marks[f.kind] + f.elems[i].render() + " => "
			b.WriteString(indent(key, f.elems[i+1].render()))
		}
	} else {
		for i, e := range f.elems {
			b.WriteString(indent(strconv.Itoa(i+1)+marks[f.kind], e.render()))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// indent writes text behind a mark, its later lines under its first.
func indent(mark, text string) string {
	width := min(len(mark), 40)
	return mark + strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", width)) + "\n"
}

func quoted(s string) string {
	if len(s) > longestShown {
		return fmt.Sprintf("%s... (%d bytes, sha1 %x)", resp.AppendQuoted(nil, []byte(s[:24])), len(s), sha1.Sum([]byte(s)))
	}
	return string(resp.AppendQuoted(nil, []byte(s)))
}

// printable is a one-line text with everything unprintable escaped.
func printable(s string) string {
	q := string(resp.AppendQuoted(nil, []byte(s)))
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if len(q) > longestShown {
		q = fmt.Sprintf("%s... (%d bytes, sha1 %x)", q[:200], len(s), sha1.Sum([]byte(s)))
	}
	return q
}

// sorted orders what the protocol leaves unordered: the last nested array of
// an array (SCAN), the pairs of a map, else the elements themselves.
func (f frame) sorted() frame {
	f.elems = slices.Clone(f.elems)
	if n := len(f.elems); f.kind == '*' && n > 0 && f.elems[n-1].kind == '*' && f.elems[0].kind == '$' {
		f.elems[n-1] = f.elems[n-1].sorted()
		return f
	}
	if f.kind == '%' {
		type pair struct{ k, v frame }
		var pairs []pair
		for i := 0; i+1 < len(f.elems); i += 2 {
			pairs = append(pairs, pair{f.elems[i], f.elems[i+1]})
		}
		slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.k.render(), b.k.render()) })
		f.elems = f.elems[:0]
		for _, p := range pairs {
			f.elems = append(f.elems, p.k, p.v)
		}
		return f
	}
	slices.SortFunc(f.elems, func(a, b frame) int { return strings.Compare(a.render(), b.render()) })
	return f
}

// shape keeps the kinds of a reply and the texts of errors and statuses.
func (f frame) shape() frame {
	switch {
	case f.kind == ':' || f.kind == ',':
		f.text = "…"
	case f.kind == '$' && !f.null || f.kind == '=' && len(f.text) > 4:
		if f.kind == '=' {
			f.text = f.text[:4] + "<text>"
		} else {
			f.text = "<text>"
		}
	}
	elems := make([]frame, len(f.elems))
	for i, e := range f.elems {
		elems[i] = e.shape()
	}
	f.elems = elems
	return f
}

// masks are what differs from run to run in a text: clock readings, addresses,
// run ids, sizes.
var masks = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\d{10}\.\d{6}`), "<time>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<addr>"},
	{regexp.MustCompile(`\b(id|fd|age|idle|qbuf|qbuf-free|argv-mem|multi-mem|rbs|rbp|obl|oll|omem|tot-mem|total-cmds|usec|usec_per_call)=[\d.]+`), "$1=<n>"},
}

// masked replaces them throughout a reply.
func (f frame) masked() frame {
	if f.kind == '$' || f.kind == '+' || f.kind == '=' {
		for _, m := range masks {
			f.text = m.pattern.ReplaceAllString(f.text, m.instead)
		}
	}
	elems := make([]frame, len(f.elems))
	for i, e := range f.elems {
		elems[i] = e.masked()
	}
	f.elems = elems
	return f
}

// words is every text in a reply, one a line.
func (f frame) words() string {
	var b strings.Builder
	if len(f.elems) == 0 {
		b.WriteString(f.text)
		b.WriteByte('\n')
	}
	for _, e := range f.elems {
		b.WriteString(e.words())
	}
	return b.String()
}
