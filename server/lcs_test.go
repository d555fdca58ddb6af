package server

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// lcsTable is the textbook's table, a length for each pair of prefixes.
func lcsTable(a, b []byte) [][]int {
	table := make([][]int, len(a)+1)
	table[0] = make([]int, len(b)+1)
	for i := range a {
		table[i+1] = make([]int, len(b)+1)
		for j := range b {
			if a[i] == b[j] {
				table[i+1][j+1] = table[i][j] + 1
			} else {
				table[i+1][j+1] = max(table[i][j+1], table[i+1][j])
			}
		}
	}
	return table
}

// walkTable takes the way back through the table that Redis takes.
func walkTable(table [][]int, a, b []byte) (text []byte) {
	for i, j := len(a), len(b); i > 0 && j > 0; {
		switch {
		case a[i-1] == b[j-1]:
			text = append(text, a[i-1])
			i, j = i-1, j-1
		case table[i-1][j] > table[i][j-1]:
			i--
		default:
			j--
		}
	}
	for l, r := 0, len(text)-1; l < r; l, r = l+1, r-1 {
		text[l], text[r] = text[r], text[l]
	}
	return text
}

func TestLCSWalksAsTheTextbookDoes(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	word := func() []byte {
		w := make([]byte, r.IntN(40))
		for i := range w {
			w[i] = 'a' + byte(r.IntN(3))
		}
		return w
	}
	for range 3000 {
		a, b := word(), word()
		table := lcsTable(a, b)
		want := walkTable(table, a, b)
		l := newLCS(a, b, true)
		if got := l.common(); l.length != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("seed %d: LCS of %q and %q: %q of %d, want %q", seed, a, b, got, l.length, want)
		}
		if got := newLCS(a, b, false).length; got != len(want) {
			t.Fatalf("seed %d: length of the LCS of %q and %q: %d, want %d", seed, a, b, got, len(want))
		}
	}
}

// The longest pair that the limit lets through takes bits, not lengths.
func TestLCSIsBounded(t *testing.T) {
	const side = 11584 // (side+1)² × 4 bytes are just under 512 MB
	a, b := bytes.Repeat([]byte("ab"), side/2), bytes.Repeat([]byte("ba"), side/2)
	l := newLCS(a, b, true)
	if l.length != side-1 {
		t.Errorf("length %d, want %d", l.length, side-1)
	}
	if got := len(l.dropA) * 8; got > 17<<20 {
		t.Errorf("the table takes %d bytes", got)
	}
}
