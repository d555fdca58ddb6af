package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// stable is raft's term and vote: a small file, replaced as a whole.
//
//	crema term 1
//	CurrentTerm 0000000000000007
//	LastVoteCand 6e31
//	LastVoteTerm 0000000000000007
//	sum 4a17c3d0
type stable struct {
	path string

	mu     sync.Mutex
	values map[string][]byte
}

const (
	stableHead = "crema term 1"
	maxStable  = 4 << 10
)

// errNoValue is the text that raft knows.
var errNoValue = errors.New("not found")

// openStable reads the file. Where there is none, there are no values.
func openStable(path string) (*stable, error) {
	s := &stable{path: path, values: map[string][]byte{}}
	b, err := readSmall(path, maxStable)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := checkSum(b)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != stableHead {
		return nil, fmt.Errorf("it begins with %q", lines[0])
	}
	for _, line := range lines[1:] {
		key, text, _ := strings.Cut(line, " ")
		if s.values[key], err = hex.DecodeString(text); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return s, nil
}

// set is on disk when it returns.
func (s *stable) set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := maps.Clone(s.values)
	values[string(key)] = slices.Clone(value)
	text := stableHead + "\n"
	for _, key := range slices.Sorted(maps.Keys(values)) {
		text += fmt.Sprintf("%s %x\n", key, values[key])
	}
	if err := writeFileSynced(s.path, []byte(text+sumLine(text))); err != nil {
		return err
	}
	s.values = values
	return nil
}

// Set stores one of raft's stable values. Raft panics where it cannot have its
// term stored, so a disk that fails keeps it waiting here.
func (l *logStore) Set(key, value []byte) error {
	return l.disk.insist(func() error { return l.stable.set(key, value) })
}

func (l *logStore) Get(key []byte) ([]byte, error) {
	l.stable.mu.Lock()
	defer l.stable.mu.Unlock()
	value, there := l.stable.values[string(key)]
	if !there {
		return nil, errNoValue
	}
	return slices.Clone(value), nil
}

func (l *logStore) SetUint64(key []byte, value uint64) error {
	return l.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (l *logStore) GetUint64(key []byte) (uint64, error) {
	b, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("stable value %s: %d bytes are not a number", key, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
