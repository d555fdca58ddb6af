package script

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// The hidden functions that rewritten code calls. No identifier has a zero in
// it, so no script can name them.
const (
	hiddenConcat = "\x00concat" // a .. b
	hiddenKey    = "\x00key"    // a computed key that is assigned to
	hiddenFor    = "\x00for"    // a bound of a numeric for
)

var hiddenNames = []string{hiddenConcat, hiddenKey, hiddenFor}

// compile makes a function of a source. Its upvalues are the hidden functions
// that it uses.
func compile(source, name string) (proto *lua.FunctionProto, err error) {
	defer func() {
		if r := recover(); r != nil {
			if refused, ok := r.(refusal); ok {
				err = fmt.Errorf("%s:%d: %s", name, max(refused.line, 1), refused.text)
				return
			}
			err = fmt.Errorf("%s:1: %v", name, r)
		}
	}()
	chunk, err := parse.Parse(strings.NewReader(source), name)
	if err != nil {
		return nil, syntaxError(err, source, name)
	}
	chunk = (&rewriter{}).function(chunk)
	body := &ast.FunctionExpr{ParList: &ast.ParList{HasVargs: true, Names: []string{}}, Stmts: chunk}
	last := 1
	if len(chunk) > 0 {
		last = max(chunk[len(chunk)-1].LastLine(), chunk[len(chunk)-1].Line(), 1)
	}
	body.SetLine(1)
	body.SetLastLine(last)
	hidden := &ast.LocalAssignStmt{Names: hiddenNames, Exprs: []ast.Expr{&ast.NilExpr{}}}
	outer, err := lua.Compile([]ast.Stmt{hidden, &ast.ReturnStmt{Exprs: []ast.Expr{body}}}, name)
	if err != nil {
		return nil, compileError(err, name)
	}
	proto = outer.FunctionPrototypes[0]
	proto.IsVarArg = lua.VarArgIsVarArg // the main function has no arg
	finishProto(proto)
	return proto, nil
}

// finishProto corrects what gopher-lua leaves wrong in a function: it ends
// the names of local variables where the marks are, and it spares functions
// that use "..." the table arg, as Lua does.
func finishProto(p *lua.FunctionProto) {
	var open []*lua.DbgLocalInfo
	for _, l := range p.DbgLocals {
		if n, ok := markOf(l.Name); ok {
			for ; n > 0 && len(open) > 0; n-- {
				open[len(open)-1].EndPc = l.StartPc
				open = open[:len(open)-1]
			}
			l.EndPc = l.StartPc
			continue
		}
		open = append(open, l)
	}
	for _, l := range open {
		l.EndPc = len(p.Code)
	}
	for _, i := range p.Code {
		if opcode(i) == lua.OP_VARARG && p.IsVarArg != 0 {
			p.IsVarArg = lua.VarArgIsVarArg
			break
		}
	}
	trim(p)
	for _, inner := range p.FunctionPrototypes {
		finishProto(inner)
	}
}

// trim gives back what the compiler set aside for a large function: 16 KiB,
// where most functions fill a tenth of it.
func trim(p *lua.FunctionProto) {
	p.Code = slices.Clone(p.Code)
	p.Constants = slices.Clone(p.Constants)
	p.FunctionPrototypes = slices.Clone(p.FunctionPrototypes)
	p.DbgSourcePositions = slices.Clone(p.DbgSourcePositions)
	p.DbgLocals = slices.Clone(p.DbgLocals)
	p.DbgCalls = slices.Clone(p.DbgCalls)
	p.DbgUpvalues = slices.Clone(p.DbgUpvalues)
	v := viewProto(p)
	v.stringConstants = slices.Clone(v.stringConstants)
}

// protoBytes is what a function keeps without the functions inside.
func protoBytes(p *lua.FunctionProto) int64 {
	n := unsafe.Sizeof(*p) +
		uintptr(cap(p.Code))*4 + uintptr(cap(p.DbgSourcePositions))*8 +
		uintptr(cap(p.Constants))*48 + // the value, its box and stringConstants
		uintptr(cap(p.FunctionPrototypes))*8 + uintptr(cap(p.DbgUpvalues))*16 +
		uintptr(cap(p.DbgCalls))*unsafe.Sizeof(lua.DbgCall{}) +
		uintptr(cap(p.DbgLocals))*(8+unsafe.Sizeof(lua.DbgLocalInfo{}))
	for _, c := range p.Constants {
		if s, ok := c.(lua.LString); ok {
			n += uintptr(len(s))
		}
	}
	return int64(n)
}

// allBytes is what a function keeps.
func allBytes(p *lua.FunctionProto) int64 {
	n := protoBytes(p)
	for _, inner := range p.FunctionPrototypes {
		n += allBytes(inner)
	}
	return n
}

// syntaxError spells a parser's error as Lua does where that is possible.
func syntaxError(err error, source, name string) error {
	var e *parse.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s:1: %v", name, err)
	}
	line, near := e.Pos.Line, e.Token
	if line == parse.EOF {
		line, near = strings.Count(strings.TrimRight(source, "\n"), "\n")+1, "<eof>"
		if strings.HasSuffix(source, "\n") {
			line += strings.Count(source[len(strings.TrimRight(source, "\n")):], "\n")
		}
	}
	text := "syntax error"
	switch {
	case e.Message == "unterminated string":
		text = "unfinished string"
		near = quoteNear(source, line, near)
	case e.Message == "unterminated multiline string":
		text = "unfinished long string"
	case e.Message == "invalid multiline comment":
		text = "unfinished long comment"
	case strings.HasPrefix(e.Message, "Invalid") || near == "<eof>":
		text = "unexpected symbol"
	}
	return fmt.Errorf("%s:%d: %s near '%s'", name, line, text, near)
}

// quoteNear gives an unfinished string its opening quote back.
func quoteNear(source string, line int, text string) string {
	if text == "<eof>" {
		return text
	}
	lines := strings.SplitN(source, "\n", line+1)
	if line-1 < len(lines) {
		if at := strings.LastIndex(lines[line-1], text); at > 0 {
			return lines[line-1][at-1:at] + text
		}
	}
	return text
}

func compileError(err error, name string) error {
	var e *lua.CompileError
	if !errors.As(err, &e) {
		return fmt.Errorf("%s:1: %v", name, err)
	}
	text := e.Message
	if strings.Contains(text, "break") {
		text = "no loop to break near '<eof>'"
	}
	return fmt.Errorf("%s:%d: %s", name, max(e.Line, 1), text)
}
