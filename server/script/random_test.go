package script

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// writer makes up programs: locals, closures, tables, loops, errors that are
// caught, several assignments at once. Every program ends.
type writer struct {
	*rand.Rand
	b      strings.Builder
	locals []string
	funcs  []string
	depth  int
	loops  int
}

func (w *writer) pick(list ...string) string { return list[w.IntN(len(list))] }

func (w *writer) local() string { return w.locals[w.IntN(len(w.locals))] }

// target is a local that is no loop variable, which programs leave alone.
func (w *writer) target() string {
	for {
		if v := w.local(); v[0] != 'i' {
			return v
		}
	}
}

func (w *writer) expr(depth int) string {
	if depth <= 0 {
		switch w.IntN(9) {
		case 0, 1, 2, 3:
			return w.local()
		case 4:
			return fmt.Sprint(w.IntN(20) - 5)
		case 5:
			return w.pick("1.5", "0.1", "1e15", "-0.25", "2^40", "'7'", "'x'", "'0x10'")
		case 6:
			return w.pick("nil", "true", "false")
		case 7:
			return w.pick("t.a", "t.b", "t[1]", "t[2]", "#g", "t[3]")
		default:
			return `"s` + fmt.Sprint(w.IntN(5)) + `"`
		}
	}
	e := func() string { return w.expr(depth - 1 - w.IntN(2)) }
	switch w.IntN(21) {
	case 0:
		return "((tonumber(" + e() + ") or 3) + " + e() + ")"
	case 1:
		return "((tonumber(" + e() + ") or 2) * (tonumber(" + e() + ") or 4))"
	case 2:
		return "(tostring(" + e() + ") .. " + e() + " .. tostring(" + e() + "))"
	case 3:
		return "(" + e() + " and " + e() + ")"
	case 4:
		return "(" + e() + " or " + e() + ")"
	case 5:
		return "(" + e() + w.pick(" == ", " ~= ") + e() + ")"
	case 6:
		return "(" + e() + w.pick(" < ", " <= ", " > ", " >= ") + e() + ")"
	case 7:
		return "not " + e()
	case 8:
		return "tostring(" + e() + ")"
	case 9:
		return "type(" + e() + ")"
	case 10:
		return "tonumber(" + e() + ")"
	case 11:
		if len(w.funcs) > 0 {
			return w.pick(w.funcs...) + "(" + e() + ", " + e() + ")"
		}
		return "- " + e()
	case 13:
		return "({" + e() + ", " + e() + ", k = " + e() + "})[" + w.pick("1", "2", "'k'", e()) + "]"
	case 14:
		return "#{" + e() + " or 1, " + e() + " or 2}"
	case 15:
		return "obj:m(" + e() + ")"
	case 16:
		return "(tostring(" + e() + ")):" + w.pick("sub(1, 2)", "upper()", "len()", "rep(2)", "find('e')", "byte(1)", "gsub('t', 'T')")
	case 17:
		return "(function(...) local x, y = ... return " + w.pick("y, x", "x", "...", "select('#', ...)", "(...)", "x and y", "x or y") + " end)(" + e() + ", " + e() + ")"
	case 18:
		return "(" + e() + " and " + e() + " or " + e() + ")"
	case 19:
		return "(unpack({" + e() + ", " + e() + "}))"
	case 20:
		return "(" + e() + " " + w.pick("%", "^") + " (tonumber(" + e() + ") or 3))"
	case 12:
		return "select(" + fmt.Sprint(1+w.IntN(2)) + ", " + e() + ", " + e() + ")"
	}
	return "(" + e() + w.pick(" - ", " / ") + e() + ")"
}

func (w *writer) block(n int) {
	w.depth++
	locals, funcs := len(w.locals), len(w.funcs)
	for range n {
		w.stmt()
	}
	w.locals, w.funcs = w.locals[:locals], w.funcs[:funcs]
	w.depth--
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.b, format, args...)
	if w.IntN(3) == 0 {
		w.b.WriteByte('\n')
	} else {
		w.b.WriteByte(' ')
	}
}

func (w *writer) stmt() {
	if w.depth > 4 {
		w.line("%s = %s", w.target(), w.expr(1))
		return
	}
	switch w.IntN(24) {
	case 0, 1:
		name := fmt.Sprintf("v%d", len(w.locals))
		w.line("local %s = %s", name, w.expr(2))
		w.locals = append(w.locals, name)
	case 2, 3:
		w.line("%s = %s", w.target(), w.expr(3))
	case 4:
		w.line("%s, %s = %s, %s", w.target(), w.target(), w.expr(1), w.expr(1))
	case 5:
		w.line("t[%s], %s = %s, %s", w.pick("1", "2", "'a'", "#g+1"), w.target(), w.expr(1), w.expr(2))
	case 6:
		w.line("t.%s = %s", w.pick("a", "b"), w.expr(2))
	case 7:
		w.line("if %s then", w.expr(2))
		w.block(1 + w.IntN(2))
		w.line("else")
		w.block(1)
		w.line("end")
	case 8:
		w.loops++
		i := fmt.Sprintf("i%d", w.loops)
		w.line("for %s = 1, %d do", i, 1+w.IntN(3))
		w.locals = append(w.locals, i)
		w.block(1 + w.IntN(2))
		w.locals = w.locals[:len(w.locals)-1]
		w.line("end")
	case 9:
		name := fmt.Sprintf("f%d", w.depth*100+len(w.funcs))
		w.line("local function %s(p, q)", name)
		w.locals = append(w.locals, "p", "q")
		funcs := w.funcs
		w.funcs = nil // no recursion
		w.block(1 + w.IntN(2))
		w.line("return %s, %s end", w.expr(2), w.expr(1))
		w.locals, w.funcs = w.locals[:len(w.locals)-2], append(funcs, name)
	case 10, 11:
		w.line("do local ok, e = pcall(function()")
		w.block(1 + w.IntN(3))
		w.line("return %s end) out[#out+1] = tostring(ok) .. tostring(e) end", w.expr(2))
	case 12:
		funcs := w.funcs
		w.funcs = nil // what g holds calls nothing, for every function may call it
		w.line("g[#g+1] = function() %s = %s return %s end", w.target(), w.expr(1), w.local())
		w.funcs = funcs
	case 13:
		w.line("for k = 1, #g do local ok, e = pcall(g[k]) out[#out+1] = tostring(e) end")
	case 14:
		w.line("do local co = coroutine.wrap(function(...) local x = coroutine.yield(%s) %s = x return ..., %s end)"+
			" out[#out+1] = tostring(select(2, pcall(co, %s))) out[#out+1] = tostring(select(2, pcall(co, %s))) end",
			w.expr(1), w.target(), w.expr(1), w.expr(1), w.expr(1))
	case 16:
		w.loops++
		w.line("do local n%d = 0 while n%[1]d < 3 do n%[1]d = n%[1]d + 1", w.loops)
		w.block(1)
		w.line("if %s then break end end end", w.expr(2))
	case 17:
		w.loops++
		w.line("do local n%d = 0 repeat local z = %s n%[1]d = n%[1]d + 1", w.loops, w.expr(1))
		w.block(1)
		w.line("until n%d > 2 or z end", w.loops)
	case 18:
		w.line("for k, v in ipairs({%s, %s, %s}) do %s = v if k == 2 then break end end", w.expr(1), w.expr(1), w.expr(1), w.target())
	case 19:
		x, y := fmt.Sprintf("v%d", len(w.locals)), fmt.Sprintf("v%d", len(w.locals)+1)
		w.line("local %s, %s = %s", x, y, w.pick("pcall(type)", "select(1, "+w.expr(1)+", "+w.expr(1)+")", w.expr(2), w.expr(1)+", "+w.expr(1)+", "+w.expr(1)))
		w.locals = append(w.locals, x, y)
	case 20:
		w.line("do local h = {} for j = 1, 3 do local u = %s h[j] = function() u = %s return u, j end end for j = 1, 3 do local ok, r = pcall(h[j]) out[#out+1] = tostring(r) end end", w.expr(1), w.expr(1))
	case 21:
		w.line("for j = 3, 1, -%s do %s = j + %s end", w.pick("1", "2", "0.5"), w.target(), w.pick("1", "j", "#out"))
	case 22:
		w.line("obj.v = %s", w.expr(2))
	case 23:
		w.line("%s, t.a = %s", w.target(), w.expr(2))
	case 15:
		w.line("out[#out+1] = string.format('%%s|%%s', tostring(%s), tostring(%s))", w.expr(2), w.expr(2))
	}
}

func program(seed uint64) string {
	w := &writer{Rand: rand.New(rand.NewPCG(seed, 1)), locals: []string{"a", "b", "c"}}
	w.b.WriteString("local out, g, t = {}, {}, {}\nlocal a, b, c = 1, 'two', nil\n" +
		"local obj = {v = 1} function obj:m(x) x = tostring(x) .. tostring(self.v) self.v = x return x, 2 end\n")
	w.block(6 + w.IntN(10))
	w.b.WriteString("\nout[#out+1] = tostring(a) out[#out+1] = tostring(b) out[#out+1] = tostring(c) return out")
	return w.b.String()
}

// named is a variable's name in an error. In expressions with and, or, Redis
// has names where there are none here and the other way round.
var named = regexp.MustCompile(`(?:local|upvalue|field|global|method) '[^']*' \((a \w+ value)\)`)

// lengths are those of the strings that contain such errors.
var lengths = regexp.MustCompile(`\$\d+`)

func plain(s string) string {
	s = strings.ReplaceAll(s, "-nan", "nan") // the sign of a % 0 is the processor's
	return lengths.ReplaceAllString(named.ReplaceAllString(addresses.ReplaceAllString(s, "0x"), "$1"), "$$")
}

// TestRandomProgramsAsRedis runs programs that nobody thought of here and on
// the oracle.
func TestRandomProgramsAsRedis(t *testing.T) {
	o := startOracle(t)
	theirs := o.dial(t, "2")
	host := &realHost{client: o.dial(t, "2")}
	e := New(Limits{})
	failed := 0
	for seed := range uint64(1500) {
		source := program(seed)
		want := theirs.do([][]byte{[]byte("EVAL"), []byte(source), []byte("0")})
		got, err := eval(e, host, source, nil, nil)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, source)
		}
		g, w := plain(show(got, 2)), plain(show(want, 2))
		if g != w {
			t.Errorf("seed %d\n%s\n got %s\nwant %s", seed, source, g, w)
			if failed++; failed == 5 {
				return
			}
		}
	}
}
