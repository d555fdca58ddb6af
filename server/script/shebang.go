package script

import (
	"bytes"
	"errors"
	"strings"
)

// Flags are what a script says of itself in its shebang line.
type Flags struct {
	Declared   bool // there is a shebang, so the defaults of EVAL do not apply
	NoWrites   bool
	AllowOOM   bool
	AllowStale bool
	NoCluster  bool
	CrossSlot  bool
}

// shebang reads the flags of the first line and cuts it off, all but its end.
func shebang(source []byte) (flags Flags, rest []byte, err error) {
	if !bytes.HasPrefix(source, []byte("#!")) {
		return flags, source, nil
	}
	end := bytes.IndexByte(source, '\n')
	if end < 0 {
		return flags, nil, errors.New("ERR Invalid script shebang")
	}
	words := strings.Fields(string(source[:end]))
	if len(words) == 0 {
		return flags, nil, errors.New("ERR Invalid engine in script shebang")
	}
	if words[0] != "#!lua" {
		return flags, nil, errors.New("ERR Unexpected engine in script shebang: " + words[0])
	}
	flags.Declared = true
	for _, word := range words[1:] {
		list, ok := strings.CutPrefix(word, "flags=")
		if !ok {
			return flags, nil, errors.New("ERR Unknown lua shebang option: " + word)
		}
		for _, flag := range strings.Split(list, ",") {
			switch flag {
			case "no-writes":
				flags.NoWrites = true
			case "allow-oom":
				flags.AllowOOM = true
			case "allow-stale":
				flags.AllowStale = true
			case "no-cluster":
				flags.NoCluster = true
			case "allow-cross-slot-keys":
				flags.CrossSlot = true
			case "allow-key-locking":
				// Upstash's word for a script that touches the keys it declares and
				// no others, which its rate limiter's scripts begin with. Nothing
				// follows from it here.
			case "":
				if list != "" {
					return flags, nil, errors.New("ERR Unexpected flag in script shebang: ")
				}
			default:
				return flags, nil, errors.New("ERR Unexpected flag in script shebang: " + flag)
			}
		}
	}
	return flags, source[end:], nil
}
