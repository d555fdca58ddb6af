package script

import (
	lua "github.com/yuin/gopher-lua"
)

// The fields of an instruction.
func opcode(i uint32) int { return int(i >> 26) }
func argA(i uint32) int   { return int(i>>18) & 0xff }
func argB(i uint32) int   { return int(i & 0x1ff) }
func argC(i uint32) int   { return int(i>>9) & 0x1ff }
func argBx(i uint32) int  { return int(i & 0x3ffff) }
func argSbx(i uint32) int { return argBx(i) - 0x3ffff>>1 }

const constantBit = 1 << 8 // an operand that is a constant, not a register

// operand is the value of a register or a constant.
func operand(v *stateView, f *frameView, rk int) lua.LValue {
	if rk&constantBit != 0 {
		return f.Fn.Proto.Constants[rk&^constantBit]
	}
	return v.register(f, rk)
}

func constantName(p *lua.FunctionProto, rk int) string {
	if rk&constantBit != 0 {
		if s, ok := p.Constants[rk&^constantBit].(lua.LString); ok {
			return string(s)
		}
	}
	return "?"
}

// objectName is Lua's getobjname: how the source calls what is in a register
// when the instruction at pc runs. No kind means that it has no name.
func objectName(p *lua.FunctionProto, pc, reg int) (kind, name string) {
	if reg&constantBit != 0 {
		return "", ""
	}
	if name, ok := localName(p, reg, pc); ok && name[0] != 0 && name[0] != '(' {
		return "local", name // and not one that the compiler made up
	}
	at, source := lastSet(p, pc, reg)
	if at < 0 {
		return "", ""
	}
	i := p.Code[at]
	switch opcode(i) {
	case lua.OP_GETGLOBAL:
		return "global", p.Constants[argBx(i)].String()
	case lua.OP_MOVE, lua.OP_MOVEN:
		if source < reg {
			return objectName(p, at, source)
		}
	case lua.OP_GETTABLE, lua.OP_GETTABLEKS:
		return "field", constantName(p, argC(i))
	case lua.OP_GETUPVAL:
		if b := argB(i); b < len(p.DbgUpvalues) && p.DbgUpvalues[b][0] != 0 {
			return "upvalue", p.DbgUpvalues[b]
		}
	case lua.OP_SELF:
		return "method", constantName(p, argC(i))
	}
	return "", ""
}

func localName(p *lua.FunctionProto, reg, pc int) (string, bool) {
	for _, l := range p.DbgLocals {
		if l.StartPc >= pc+1 {
			break
		}
		if pc < l.EndPc {
			if reg == 0 {
				return l.Name, l.Name != ""
			}
			reg--
		}
	}
	return "", false
}

// lastSet is Lua's symbexec: the instruction before pc that last set a
// register, and for a move the register that it came from.
func lastSet(p *lua.FunctionProto, pc, reg int) (at, source int) {
	at = -1
	for j := 0; j < pc; j++ {
		i := p.Code[j]
		a, b := argA(i), argB(i)
		switch opcode(i) {
		case lua.OP_MOVEN:
			if a == reg {
				at, source = j, b
			}
			first := j
			for n := argC(i); n > 0; n-- {
				j++
				if argA(p.Code[j]) == reg {
					at, source = first, argB(p.Code[j])
				}
			}
		case lua.OP_LOADNIL:
			if a <= reg && reg <= b {
				at = j
			}
		case lua.OP_TFORLOOP:
			if reg >= a+3 {
				at = j
			}
		case lua.OP_CALL, lua.OP_TAILCALL:
			if reg >= a {
				at = j
			}
		case lua.OP_VARARG:
			if reg >= a && (b == 0 || reg < a+b-1) {
				at = j
			}
		case lua.OP_FORLOOP, lua.OP_FORPREP:
			if reg == a+3 {
				at = j
			}
			j = forward(j, pc, argSbx(i))
		case lua.OP_JMP:
			j = forward(j, pc, argSbx(i))
		case lua.OP_SELF:
			if reg == a || reg == a+1 {
				at = j
			}
		case lua.OP_CLOSURE:
			if reg == a {
				at = j
			}
			j += int(p.FunctionPrototypes[argBx(i)].NumUpvalues)
		case lua.OP_SETLIST:
			if argC(i) == 0 {
				j++
			}
		case lua.OP_MOVE:
			if reg == a {
				at, source = j, b
			}
		case lua.OP_LOADK, lua.OP_LOADBOOL, lua.OP_GETUPVAL, lua.OP_GETGLOBAL, lua.OP_GETTABLE,
			lua.OP_GETTABLEKS, lua.OP_NEWTABLE, lua.OP_ADD, lua.OP_SUB, lua.OP_MUL, lua.OP_DIV,
			lua.OP_MOD, lua.OP_POW, lua.OP_UNM, lua.OP_NOT, lua.OP_LEN, lua.OP_CONCAT, lua.OP_TESTSET:
			if reg == a {
				at = j
			}
		}
	}
	return at, source
}

// forward follows a jump from j that does not skip pc.
func forward(j, pc, by int) int {
	if by > 0 && j+1+by <= pc {
		return j + by
	}
	return j
}
