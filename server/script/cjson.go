package script

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// jsonConfig is the settings of one cjson table. Those of the global one are
// new for each run.
type jsonConfig struct {
	sparseConvert bool
	sparseRatio   int
	sparseSafe    int
	encodeDepth   int
	decodeDepth   int
	precision     int
	keepBuffer    bool
	encodeInvalid int // 0 error, 1 as they are, 2 null
	decodeInvalid bool
}

var defaultJSON = jsonConfig{
	sparseRatio:   2,
	sparseSafe:    10,
	encodeDepth:   1000,
	decodeDepth:   1000,
	precision:     14,
	keepBuffer:    true,
	decodeInvalid: true,
}

// newJSON makes a table of cjson functions over one configuration.
func (in *interp) newJSON(config func() *jsonConfig) *lua.LTable {
	t := in.L.CreateTable(0, 16)
	add := func(name string, f func(c call, cfg *jsonConfig) int) {
		t.RawSetString(name, in.native(func(c call) int { return f(c, config()) }))
	}
	add("encode", jsonEncode)
	add("decode", jsonDecode)
	add("new", func(c call, _ *jsonConfig) int {
		own := defaultJSON
		c.charge(4096)
		c.Push(c.in.newJSON(func() *jsonConfig { return &own }))
		return 1
	})
	add("encode_sparse_array", func(c call, cfg *jsonConfig) int {
		c.options(3)
		c.switchOption(1, &cfg.sparseConvert)
		c.integerOption(2, &cfg.sparseRatio, 0, math.MaxInt32)
		c.integerOption(3, &cfg.sparseSafe, 0, math.MaxInt32)
		return 3
	})
	add("encode_max_depth", func(c call, cfg *jsonConfig) int {
		c.options(1)
		return c.integerOption(1, &cfg.encodeDepth, 1, math.MaxInt32)
	})
	add("decode_max_depth", func(c call, cfg *jsonConfig) int {
		c.options(1)
		return c.integerOption(1, &cfg.decodeDepth, 1, math.MaxInt32)
	})
	add("encode_number_precision", func(c call, cfg *jsonConfig) int {
		c.options(1)
		return c.integerOption(1, &cfg.precision, 1, 14)
	})
	add("encode_keep_buffer", func(c call, cfg *jsonConfig) int {
		c.options(1)
		return c.switchOption(1, &cfg.keepBuffer)
	})
	add("encode_invalid_numbers", func(c call, cfg *jsonConfig) int {
		c.options(1)
		return c.choiceOption(1, &cfg.encodeInvalid, "off", "on", "null")
	})
	add("decode_invalid_numbers", func(c call, cfg *jsonConfig) int {
		c.options(1)
		return c.switchOption(1, &cfg.decodeInvalid)
	})
	t.RawSetString("null", in.null)
	t.RawSetString("_NAME", lua.LString("cjson"))
	t.RawSetString("_VERSION", lua.LString("2.1.0"))
	return t
}

func (c call) options(most int) {
	c.require(c.n() <= most, most+1, "found too many arguments")
	c.SetTop(most)
}

// integerOption sets an option if there is an argument, and pushes it.
func (c call) integerOption(n int, setting *int, low, high int) int {
	if c.Get(n) != lua.LNil {
		v := c.integer(n)
		c.require(low <= v && v <= high, 1, "expected integer between "+itoa(low)+" and "+itoa(high))
		*setting = v
	}
	c.pushNumber(float64(*setting))
	return 1
}

func (c call) switchOption(n int, setting *bool) int {
	choice := 0
	if *setting {
		choice = 1
	}
	c.choiceOption(n, &choice, "off", "on")
	*setting = choice == 1
	return 1
}

func (c call) choiceOption(n int, setting *int, names ...string) int {
	switch v := c.Get(n).(type) {
	case *lua.LNilType:
	case lua.LBool:
		*setting = 0
		if v {
			*setting = 1
		}
	default:
		text, found := c.text(n), false
		for i, name := range names {
			if text == name {
				*setting, found = i, true
			}
		}
		c.require(found, n, "invalid option '"+text+"'")
	}
	if *setting <= 1 {
		c.Push(lua.LBool(*setting == 1))
	} else {
		c.pushText(names[*setting])
	}
	return 1
}

// encoder appends JSON.
type encoder struct {
	output
	cfg *jsonConfig
}

func jsonEncode(c call, cfg *jsonConfig) int {
	c.require(c.n() == 1, 1, "expected 1 argument")
	e := &encoder{output{c: c}, cfg}
	e.value(c.Get(1), 0)
	e.push()
	return 1
}

func (e *encoder) refuse(v lua.LValue, why string) {
	e.c.fail("Cannot serialise " + v.Type().String() + ": " + why)
}

func (e *encoder) value(v lua.LValue, depth int) {
	e.c.step(1)
	e.room(32)
	switch v := v.(type) {
	case lua.LString:
		e.text(string(v))
	case lua.LNumber:
		e.number(v)
	case lua.LBool:
		e.out = append(e.out, v.String()...)
	case *lua.LNilType:
		e.out = append(e.out, "null"...)
	case *lua.LTable:
		if depth++; depth > e.cfg.encodeDepth || depth > maxJSONDepth {
			e.c.fail("Cannot serialise, excessive nesting (" + itoa(depth) + ")")
		}
		t := e.c.in.real(v)
		if n := e.arrayLength(t); n > 0 {
			e.array(t, n, depth)
		} else {
			e.object(t, depth)
		}
	default:
		if v != lua.LValue(e.c.in.null) {
			e.refuse(v, "type not supported")
		}
		e.out = append(e.out, "null"...)
	}
}

// maxJSONDepth bounds nesting whatever a script sets, as Redis's Lua stack does.
const maxJSONDepth = 2600

// arrayLength is the length of the array that a table is, -1 for an object.
func (e *encoder) arrayLength(t *lua.LTable) int {
	top, items := 0.0, 0
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		e.c.step(1)
		n, ok := k.(lua.LNumber)
		if !ok || n < 1 || float64(n) != math.Floor(float64(n)) {
			return -1
		}
		top = max(top, float64(n))
		items++
	}
	if e.cfg.sparseRatio > 0 && top > float64(items*e.cfg.sparseRatio) && top > float64(e.cfg.sparseSafe) {
		if !e.cfg.sparseConvert {
			e.refuse(t, "excessively sparse array")
		}
		return -1
	}
	return int(min(top, math.MaxInt32))
}

func (e *encoder) array(t *lua.LTable, n, depth int) {
	e.out = append(e.out, '[')
	for i := 1; i <= n; i++ {
		if i > 1 {
			e.writeByte(',')
		}
		e.value(t.RawGet(lua.LNumber(i)), depth)
	}
	e.writeByte(']')
}

func (e *encoder) object(t *lua.LTable, depth int) {
	e.out = append(e.out, '{')
	first := true
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		if !first {
			e.writeByte(',')
		}
		first = false
		e.room(64)
		switch k := k.(type) {
		case lua.LNumber:
			e.out = append(e.out, '"')
			e.number(k)
			e.out = append(e.out, '"', ':')
		case lua.LString:
			e.text(string(k))
			e.writeByte(':')
		default:
			e.refuse(k, "table key must be a number or string")
		}
		e.value(v, depth)
	}
	e.writeByte('}')
}

func (e *encoder) number(v lua.LNumber) {
	f := float64(v)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		switch {
		case e.cfg.encodeInvalid == 0:
			e.refuse(v, "must not be NaN or Inf")
		case e.cfg.encodeInvalid == 2:
			e.out = append(e.out, "null"...)
			return
		case f != f:
			e.out = append(e.out, "nan"...)
			return
		}
	}
	e.out = appendNumber(e.out, f, e.cfg.precision)
}

// maxEscape is \u0000 and the quote behind the string.
const maxEscape = 7

func (e *encoder) text(s string) {
	const hex = "0123456789abcdef"
	e.room(len(s) + 2)
	e.out = append(e.out, '"')
	for i := range len(s) {
		b := s[i]
		if b >= 32 && b != '"' && b != '\\' && b != '/' && b != 127 {
			e.out = append(e.out, b)
			continue
		}
		e.fit(len(s) - i + maxEscape)
		switch b {
		case '"', '\\', '/':
			e.out = append(e.out, '\\', b)
		case '\b':
			e.out = append(e.out, '\\', 'b')
		case '\f':
			e.out = append(e.out, '\\', 'f')
		case '\n':
			e.out = append(e.out, '\\', 'n')
		case '\r':
			e.out = append(e.out, '\\', 'r')
		case '\t':
			e.out = append(e.out, '\\', 't')
		default:
			e.out = append(e.out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
	}
	e.out = append(e.out, '"')
}
