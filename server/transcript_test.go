package server_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"crema/resp"
)

// A conversation file is read by people first. Its lines are
//
//	# text            a comment; after a blank line it opens a new conversation
//	> SET k v         a command of the default client, quoted as redis-cli does
//	a> GET k          a command of another client, which connects by being named
//	>> "*0\r\n"       bytes sent as they are
//	a<                the next message or reply, without sending anything
//	a<<               all messages that have come, which may be none
//	! directive       about what follows (see below)
//	~ OK              crema's reply where a known difference is announced
//	OK                else: the reply
//
// In a word {x*1000} stands for x a thousand times, $name for what "let" kept.
// Directives for the next reply:
//
//	! sorted          its order is free: keys, the pairs of a map
//	! approx 50       its integers may be 50 off
//	! shape           only its kinds count
//	! masked          addresses, clocks, ids and sizes in its texts do not count
//	! has a b:c       only that these words open a line or field of it
//	! fields          only the names of its name:value or name=value fields
//	! scan            a SCAN is repeated until its cursor is 0; all keys, sorted
//	! while TEXT      the command is sent again while its reply holds TEXT
//	! let NAME        its text is kept as $NAME
//	! no-reply        none is awaited
//	! difference ID   crema answers otherwise, see differences.txt
//
// and for the conversation, wherever they stand:
//
//	! config NAME VALUE        CONFIG SET on each server, taken back at the end
//	! wait 60ms                only where time itself is the subject
//	! wait-until-expired KEY   in database 0
//	! close NAME               that client disconnects
//	! resp3 [NAME]             that client opens with HELLO 3
//	! resp2-only               not repeated with every client in RESP3
//	! crema-only               not in Redis 7.0: the replies are as written here
type transcript struct {
	name  string
	items []item // everything, in order
	talks []*conversation
}

// item is a line that is kept as it stands, or a step.
type item struct {
	line string
	step *step
}

type conversation struct {
	title     string
	line      int
	steps     []*step
	resp3     map[string]bool // clients that open with HELLO 3
	resp2Only bool
	cremaOnly bool
}

type step struct {
	line   int
	text   string // as in the file
	client string
	do     string   // ">", ">>", "<", "<<" or the name of a directive that acts
	words  []string // of ">" and of a directive
	raw    []byte   // of ">>"
	rule   rule
	want   []string // the rendered reply, from Redis
	crema  []string // from crema, where it differs
}

// rule says how much of a reply counts.
type rule struct {
	sorted, shape, masked, fields, scan, noReply bool
	has                                          []string
	approx                                       int64
	while, let, difference                       string
	elems                                        []rule // of EXEC: one for each command
}

var (
	stepLine  = regexp.MustCompile(`^([a-z][a-z0-9]*)?(>>|>|<<|<)(?: (.*))?$`)
	repeated  = regexp.MustCompile(`\{([^{}]+)\*(\d+)\}`)
	variables = regexp.MustCompile(`\$[a-z][a-z0-9]*`)
)

func parseTranscript(name string, file []byte) (*transcript, error) {
	tr := &transcript{name: name}
	var (
		talk  *conversation
		next  rule
		last  *step
		blank = true
	)
	lines := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
	for i, line := range lines {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s: %q", name, i+1, fmt.Sprintf(format, args...), line)
		}
		wasBlank := blank
		blank = line == ""
		switch {
		case blank:
			tr.items = append(tr.items, item{line: line})
			last = nil
		case line[0] == '#':
			if wasBlank {
				talk = &conversation{title: strings.TrimSpace(line[1:]), line: i + 1, resp3: map[string]bool{}}
				tr.talks = append(tr.talks, talk)
			}
			tr.items = append(tr.items, item{line: line})
			last = nil
		case talk == nil:
			return nil, fail("a conversation opens with a # line after a blank one")
		case strings.HasPrefix(line, "! "):
			s, err := parseDirective(talk, &next, line)
			if err != nil {
				return nil, fail("%v", err)
			}
			if s == nil {
				tr.items = append(tr.items, item{line: line})
			} else {
				s.line, s.text = i+1, line
				talk.steps = append(talk.steps, s)
				tr.items = append(tr.items, item{step: s})
			}
			last = nil
		case strings.HasPrefix(line, "~ "):
			if last == nil || last.rule.difference == "" {
				return nil, fail("~ without ! difference")
			}
			last.crema = append(last.crema, line[2:])
		default:
			m := stepLine.FindStringSubmatch(line)
			if m == nil {
				if last == nil {
					return nil, fail("a reply without a command")
				}
				last.want = append(last.want, line)
				continue
			}
			last = &step{line: i + 1, text: line, client: m[1], do: m[2], rule: next}
			next = rule{}
			words, ok := resp.SplitLine([]byte(m[3]))
			if !ok {
				return nil, fail("unbalanced quotes")
			}
			if last.do == ">>" {
				for _, w := range words {
					last.raw = append(last.raw, expand(string(w))...)
				}
			}
			for _, w := range words {
				last.words = append(last.words, expand(string(w)))
			}
			if last.do == ">" && len(words) == 0 {
				return nil, fail("no command")
			}
			talk.steps = append(talk.steps, last)
			tr.items = append(tr.items, item{step: last})
		}
	}
	return tr, nil
}

// parseDirective fills the rule of the next step, changes the conversation, or
// is a step of its own.
func parseDirective(talk *conversation, next *rule, line string) (*step, error) {
	words := strings.Fields(line[2:])
	if len(words) == 0 {
		return nil, fmt.Errorf("empty directive")
	}
	name, args := words[0], words[1:]
	rest := strings.TrimSpace(strings.TrimPrefix(line[2:], name))
	wants := map[string]int{"approx": 1, "let": 1, "difference": 1, "close": 1, "wait": 1, "wait-until-expired": 1}
	if n, ok := wants[name]; ok && len(args) != n {
		return nil, fmt.Errorf("%s takes %d words", name, n)
	}
	var err error
	switch name {
	case "sorted":
		next.sorted = true
	case "shape":
		next.shape = true
	case "masked":
		next.masked = true
	case "fields":
		next.fields = true
	case "scan":
		next.scan, next.sorted = true, true
	case "no-reply":
		next.noReply = true
	case "has":
		next.has = args
	case "approx":
		next.approx, err = strconv.ParseInt(args[0], 10, 64)
	case "while":
		next.while = rest
	case "let":
		next.let, next.shape = args[0], true
	case "difference":
		next.difference = args[0]
	case "resp3":
		talk.resp3[strings.Join(args, "")] = true
	case "resp2-only":
		talk.resp2Only = true
	case "crema-only":
		talk.cremaOnly = true
	case "config":
		split, ok := resp.SplitLine([]byte(rest))
		if !ok || len(split) != 2 {
			return nil, fmt.Errorf("config takes a name and a value")
		}
		return &step{do: name, words: []string{string(split[0]), string(split[1])}}, nil
	case "wait":
		_, err = time.ParseDuration(args[0])
		return &step{do: name, words: args}, err
	case "wait-until-expired", "close":
		return &step{do: name, words: args}, nil
	default:
		return nil, fmt.Errorf("no such directive")
	}
	return nil, err
}

// expand makes long words out of {x*1000}.
func expand(word string) string {
	return repeated.ReplaceAllStringFunc(word, func(part string) string {
		m := repeated.FindStringSubmatch(part)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
}

// print writes the file again, with the replies its steps now hold.
func (tr *transcript) print() []byte {
	var b bytes.Buffer
	for _, it := range tr.items {
		if it.step == nil {
			b.WriteString(it.line + "\n")
			continue
		}
		b.WriteString(it.step.text + "\n")
		for _, w := range it.step.want {
			b.WriteString(w + "\n")
		}
		for _, w := range it.step.crema {
			b.WriteString("~ " + w + "\n")
		}
	}
	return b.Bytes()
}
