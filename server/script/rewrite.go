package script

import (
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

const (
	// maxSyntaxDepth bounds nesting, so that compiling recurses within reason.
	maxSyntaxDepth = 4000

	// maxConstantWork bounds how often gopher-lua compares constants: it seeks
	// each one among all that its function has so far.
	maxConstantWork = 30_000_000

	// maxFunctions bounds the functions in one source: gopher-lua takes some
	// 18 KiB for each until the last one is compiled.
	maxFunctions = 4096
)

// refusal is what a rewriter panics with.
type refusal struct {
	line int
	text string
}

// rewriter changes a syntax tree in place.
type rewriter struct {
	depth     int
	work      int
	functions int
	constants map[string]struct{} // of the current function
}

func (r *rewriter) enter() {
	if r.depth++; r.depth > maxSyntaxDepth {
		panic(refusal{1, "chunk has too many syntax levels"})
	}
}

// constant notes something that may need a constant.
func (r *rewriter) constant(text string, line int) {
	r.constants[text] = struct{}{}
	if r.work += len(r.constants); r.work > maxConstantWork {
		panic(refusal{line, "constant table overflow"})
	}
}

// function rewrites the body of a function.
func (r *rewriter) function(stmts []ast.Stmt) []ast.Stmt {
	if r.functions++; r.functions > maxFunctions {
		panic(refusal{1, "chunk has too many functions"})
	}
	outer := r.constants
	r.constants = make(map[string]struct{})
	stmts, _ = r.block(stmts)
	r.constants = outer
	return stmts
}

// A mark is a local variable without a use: its name says how many local
// variables end where it is declared. gopher-lua does not record that.
const markPrefix = "\x00end"

func mark(n, line int) ast.Stmt {
	m := &ast.LocalAssignStmt{Names: []string{markPrefix + strconv.Itoa(n)}}
	m.SetLine(line)
	return m
}

func markOf(name string) (n int, ok bool) {
	text, ok := strings.CutPrefix(name, markPrefix)
	n, _ = strconv.Atoi(text)
	return n, ok
}

// marked ends a block's own local variables at its end.
func marked(stmts []ast.Stmt, open int) []ast.Stmt {
	if open == 0 {
		return stmts
	}
	return append(stmts, mark(open, stmts[len(stmts)-1].Line()))
}

// within ends the local variables of a statement behind it.
func within(s ast.Stmt, open int) ast.Stmt {
	if open == 0 {
		return s
	}
	block := &ast.DoBlockStmt{Stmts: []ast.Stmt{s, mark(open, s.Line())}}
	block.SetLine(s.Line())
	block.SetLastLine(s.LastLine())
	return block
}

// block rewrites a block: open is how many local variables it declares.
func (r *rewriter) block(stmts []ast.Stmt) (_ []ast.Stmt, open int) {
	r.enter()
	for i, s := range stmts {
		var more int
		stmts[i], more = r.stmt(s)
		open += more
	}
	r.depth--
	return stmts, open
}

func (r *rewriter) stmt(s ast.Stmt) (_ ast.Stmt, open int) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		for i := range s.Lhs {
			r.target(s.Lhs[i])
		}
		r.exprs(s.Rhs)
		if !simple(s) {
			return assignAtOnce(s), 0
		}
	case *ast.LocalAssignStmt:
		r.exprs(s.Exprs)
		if _, ok := onlyFunction(s); ok && s.LastLine() == 0 {
			// local f = function, whose body does not see f: a second value
			// keeps it from being compiled as local function f.
			s.Exprs = append(s.Exprs, &ast.NilExpr{})
		}
		return s, len(s.Names)
	case *ast.FuncCallStmt:
		s.Expr = r.expr(s.Expr)
	case *ast.DoBlockStmt:
		s.Stmts, open = r.block(s.Stmts)
		s.Stmts = marked(s.Stmts, open)
	case *ast.WhileStmt:
		s.Condition = r.expr(s.Condition)
		s.Stmts, open = r.block(s.Stmts)
		return within(s, open), 0
	case *ast.RepeatStmt:
		s.Condition = r.expr(s.Condition)
		s.Stmts, open = r.block(s.Stmts)
		return within(s, open), 0
	case *ast.IfStmt:
		s.Condition = r.expr(s.Condition)
		s.Then, open = r.block(s.Then)
		s.Then = marked(s.Then, open)
		s.Else, open = r.block(s.Else)
		s.Else = marked(s.Else, open)
	case *ast.NumberForStmt:
		s.Init = r.bound(s.Init, "initial value")
		s.Limit = r.bound(s.Limit, "limit")
		if s.Step != nil {
			s.Step = r.bound(s.Step, "step")
		}
		s.Stmts, open = r.block(s.Stmts)
		return within(s, open+4), 0 // with the three that the loop keeps
	case *ast.GenericForStmt:
		r.exprs(s.Exprs)
		s.Stmts, open = r.block(s.Stmts)
		return within(s, open+3+len(s.Names)), 0
	case *ast.FuncDefStmt:
		if s.Name.Func != nil {
			s.Name.Func = r.expr(s.Name.Func)
		}
		if s.Name.Receiver != nil {
			s.Name.Receiver = r.expr(s.Name.Receiver)
		}
		r.constant(s.Name.Method, s.Line())
		s.Func.Stmts = r.function(s.Func.Stmts)
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
	case *ast.GotoStmt:
		panic(refusal{s.Line(), "'=' expected near '" + s.Label + "'"})
	case *ast.LabelStmt:
		panic(refusal{s.Line(), "unexpected symbol near ':'"})
	}
	return s, 0
}

// onlyFunction recognizes the two ways to declare a local function.
func onlyFunction(s *ast.LocalAssignStmt) (*ast.FunctionExpr, bool) {
	if len(s.Names) != 1 || len(s.Exprs) != 1 {
		return nil, false
	}
	f, ok := s.Exprs[0].(*ast.FunctionExpr)
	return f, ok
}

func (r *rewriter) exprs(list []ast.Expr) {
	for i := range list {
		list[i] = r.expr(list[i])
	}
}

// target rewrites the left side of an assignment.
func (r *rewriter) target(e ast.Expr) {
	switch get := e.(type) {
	case *ast.IdentExpr:
		r.constant(get.Value, get.Line())
	case *ast.AttrGetExpr:
		get.Object = r.expr(get.Object)
		get.Key = r.expr(get.Key)
	}
}

// simple tells an assignment that needs no change.
func simple(s *ast.AssignStmt) bool {
	if len(s.Lhs) != 1 || len(s.Rhs) != 1 {
		return false
	}
	if get, ok := s.Lhs[0].(*ast.AttrGetExpr); ok {
		if appends(get) || !grows(get.Key) {
			return true
		}
		t, ok := get.Object.(*ast.IdentExpr)
		if ok {
			get.Key = hiddenCall(hiddenKey, get.Key, get.Key, placed(&ast.IdentExpr{Value: t.Value}, t))
		}
		return ok
	}
	return direct(s.Rhs[0], 1)
}

// assignAtOnce makes a block of an assignment to several variables, which
// evaluates everything before it assigns anything. By itself gopher-lua moves
// a, b = b, a one after the other, leaves a local variable alone in a = x and y
// when x is false, and uses the last parameter's own register for the function
// in a = f(a).
func assignAtOnce(s *ast.AssignStmt) ast.Stmt {
	var names []string
	var values []ast.Expr
	keep := func(e ast.Expr) ast.Expr {
		name := "\x00" + strconv.Itoa(len(names))
		names, values = append(names, name), append(values, e)
		single(e)
		return placed(&ast.IdentExpr{Value: name}, e)
	}
	for _, target := range s.Lhs {
		if get, ok := target.(*ast.AttrGetExpr); ok {
			get.Object = keep(get.Object)
			if _, constant := get.Key.(ast.ConstExpr); !constant {
				get.Key = keep(get.Key)
			}
			if grows(get.Key) {
				get.Key = hiddenCall(hiddenKey, get.Key, get.Key, placed(&ast.IdentExpr{Value: get.Object.(*ast.IdentExpr).Value}, get.Object))
			}
		}
	}
	first := len(names)
	for i := range s.Lhs {
		names = append(names, "\x00"+strconv.Itoa(first+i))
	}
	locals := &ast.LocalAssignStmt{Names: names, Exprs: append(values, s.Rhs...)}
	locals.SetLine(s.Line())
	block := &ast.DoBlockStmt{Stmts: []ast.Stmt{locals}}
	block.SetLine(s.Line())
	block.SetLastLine(s.LastLine())
	for i := len(s.Lhs) - 1; i >= 0; i-- {
		value := placed(&ast.IdentExpr{Value: names[first+i]}, s.Lhs[i])
		one := &ast.AssignStmt{Lhs: []ast.Expr{s.Lhs[i]}, Rhs: []ast.Expr{value}}
		one.SetLine(s.Line())
		block.Stmts = append(block.Stmts, one)
	}
	block.Stmts = append(block.Stmts, mark(len(names), s.Line()))
	return block
}

// direct tells an expression that may be computed right into the variable it
// is assigned to.
func direct(e ast.Expr, depth int) bool {
	switch e := e.(type) {
	case *ast.IdentExpr, *ast.NumberExpr, *ast.StringExpr, *ast.TrueExpr, *ast.FalseExpr, *ast.NilExpr, *ast.FunctionExpr:
		return true
	case *ast.TableExpr:
		return len(e.Fields) == 0
	case *ast.ArithmeticOpExpr:
		return depth > 0 && direct(e.Lhs, 0) && direct(e.Rhs, 0)
	case *ast.AttrGetExpr:
		return depth > 0 && direct(e.Object, 0) && direct(e.Key, 0)
	}
	return false
}

// placed gives a new expression the lines of another one.
func placed(e *ast.IdentExpr, at ast.Expr) ast.Expr {
	e.SetLine(at.Line())
	e.SetLastLine(at.LastLine())
	return e
}

// appends recognizes t[#t+1], which cannot leave a hole.
func appends(get *ast.AttrGetExpr) bool {
	t, ok := get.Object.(*ast.IdentExpr)
	if !ok {
		return false
	}
	sum, ok := get.Key.(*ast.ArithmeticOpExpr)
	if !ok || sum.Operator != "+" {
		return false
	}
	length, ok := sum.Lhs.(*ast.UnaryLenOpExpr)
	if !ok {
		return false
	}
	of, ok := length.Expr.(*ast.IdentExpr)
	one, ok2 := sum.Rhs.(*ast.NumberExpr)
	return ok && ok2 && of.Value == t.Value && one.Value == "1"
}

// grows tells whether a key may make an array long.
func grows(key ast.Expr) bool {
	switch k := key.(type) {
	case *ast.StringExpr, *ast.TrueExpr, *ast.FalseExpr, *ast.NilExpr:
		return false
	case *ast.NumberExpr:
		f, ok := parseNumber(k.Value)
		return !ok || f > freeKey
	}
	return true
}

// guardKey lets the engine account for the array that a key may make.
func guardKey(key ast.Expr) ast.Expr {
	if !grows(key) {
		return key
	}
	return hiddenCall(hiddenKey, key, key)
}

// bound makes a number of a bound of a numeric for.
func (r *rewriter) bound(e ast.Expr, what string) ast.Expr {
	e = r.expr(e)
	if _, ok := e.(*ast.NumberExpr); ok {
		return e
	}
	single(e)
	label := &ast.StringExpr{Value: what}
	label.SetLine(e.Line())
	return hiddenCall(hiddenFor, e, e, label)
}

// hiddenCall calls a hidden function for one result.
func hiddenCall(name string, at ast.Expr, args ...ast.Expr) ast.Expr {
	call := &ast.FuncCallExpr{Func: placed(&ast.IdentExpr{Value: name}, at), Args: args, AdjustRet: true}
	call.SetLine(at.Line())
	call.SetLastLine(at.LastLine())
	single(args[len(args)-1])
	return call
}

// single keeps an expression from giving more than one value.
func single(e ast.Expr) {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
}

func (r *rewriter) expr(e ast.Expr) ast.Expr {
	r.enter()
	defer func() { r.depth-- }()
	switch e := e.(type) {
	case *ast.NumberExpr:
		if f, ok := parseNumber(e.Value); ok {
			e.Value = strconv.FormatFloat(f, 'g', -1, 64)
		}
		r.constant(e.Value, e.Line())
	case *ast.StringExpr:
		r.constant(e.Value, e.Line())
	case *ast.IdentExpr:
		r.constant(e.Value, e.Line())
	case *ast.AttrGetExpr:
		e.Object = r.expr(e.Object)
		e.Key = r.expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if f.Key != nil {
				f.Key = guardKey(r.expr(f.Key))
			}
			f.Value = r.expr(f.Value)
		}
	case *ast.FuncCallExpr:
		if e.Func != nil {
			e.Func = r.expr(e.Func)
		}
		if e.Receiver != nil {
			e.Receiver = r.expr(e.Receiver)
		}
		r.constant(e.Method, e.Line())
		r.exprs(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.FunctionExpr:
		e.Stmts = r.function(e.Stmts)
	case *ast.StringConcatOpExpr:
		return r.concat(e)
	}
	return e
}

// concat turns a chain of .. into one call, or several for a long chain.
func (r *rewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	const most = 60 // arguments of one call, which are registers
	var parts []ast.Expr
	var at ast.Expr = e
	for {
		c, ok := at.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		parts = append(parts, r.expr(c.Lhs))
		at = c.Rhs
	}
	parts = append(parts, r.expr(at))
	for len(parts) > most {
		cut := len(parts) - most
		parts = append(parts[:cut:cut], hiddenCall(hiddenConcat, e, parts[cut:]...))
	}
	return hiddenCall(hiddenConcat, e, parts...)
}
