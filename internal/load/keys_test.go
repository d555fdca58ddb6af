package load

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The share of each rank is what zipf says, for exponents on both sides of 1 and 1.
func TestZipf(t *testing.T) {
	const n, draws = 1000, 400_000
	for _, s := range []float64{0.5, 0.9, 1, 1.01, 1.2, 3} {
		z, random := newZipf(s, n), rand.New(rand.NewPCG(1, 2))
		var counts [n]int
		for range draws {
			counts[z.next(random)]++
		}
		sum := 0.0
		for k := range n {
			sum += math.Pow(float64(k+1), -s)
		}
		for _, k := range []int{0, 1, 2, 9, 99, 999} {
			want := draws * math.Pow(float64(k+1), -s) / sum
			if off := math.Abs(float64(counts[k]) - want); off > 5*math.Sqrt(want)+1 {
				t.Errorf("exponent %g: rank %d came %d times, want %.0f", s, k+1, counts[k], want)
			}
		}
	}
}

func TestDistributions(t *testing.T) {
	const n = 100
	for _, s := range []string{"uniform", "zipf:1.01", "scan:1.01", "shift:0.9"} {
		k, err := ParseKeys(s, n)
		if err != nil {
			t.Fatal(err)
		}
		one, other, next := k.chooser(1, 1), k.chooser(1, 1), k.chooser(2, 1)
		same, inside := 0, 0
		for range 1000 {
			a, b := one(), next()
			if a == b {
				same++
			}
			if a >= 0 && a < n {
				inside++
			}
			if k.Kind != "scan" && k.Kind != "shift" && other() != a {
				t.Fatalf("%s: the same seed chooses otherwise", s)
			}
		}
		if same > 900 {
			t.Errorf("%s: another seed chooses the same", s)
		}
		if outside := 1000 - inside; (outside > 0) != (k.Kind == "scan") {
			t.Errorf("%s: %d keys that nobody else asks for", s, outside)
		}
	}
	k, err := ParseKeys("seq", n)
	if err != nil {
		t.Fatal(err)
	}
	k.From(7)
	if one, other := k.chooser(1, 1), k.chooser(1, 2); one() != 7 || other() != 8 || one() != 9 {
		t.Error("seq: clients do not share one sequence")
	}
	for _, s := range []string{"", "zipf:", "zipf:-1", "zipf:x", "seq:1", "uniform:1", "other"} {
		if _, err := ParseKeys(s, n); err == nil {
			t.Errorf("%q is taken for a distribution", s)
		}
	}
	if _, err := ParseKeys("uniform", 0); err == nil {
		t.Error("no keys are taken for some")
	}
}

func TestSizes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for text, want := range map[string][3]int{ // least, most, median within a tenth
		"64": {64, 64, 64}, "1-1024": {1, 1024, 512}, "log:1-1048576": {1, 1 << 20, 1024}, "lognormal:200": {1, 200_000, 200},
	} {
		z, err := ParseSizes(text)
		if err != nil || z.String() != text {
			t.Fatalf("%s: %v, %v", text, z, err)
		}
		below := 0
		for range 10_000 {
			n := z.next(random)
			if n < want[0] || n > want[1] {
				t.Fatalf("%s: %d", text, n)
			}
			if n < want[2] {
				below++
			}
		}
		if text != "64" && (below < 4700 || below > 5300) {
			t.Errorf("%s: %d of 10000 are below the median", text, below)
		}
	}
	for _, text := range []string{"", "0", "-1", "2-1", "1-", "lognormal:1-2", "log:5", "x:1-2", "99999999999"} {
		if _, err := ParseSizes(text); err == nil {
			t.Errorf("%q are taken for sizes", text)
		}
	}
}
