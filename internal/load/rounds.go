package load

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Rounds has servers take turns, round by round. What came of it is by server, then
// by round.
func Rounds(ctx context.Context, j *Job, servers []*Server, rounds int, p Progress) ([][]*Turn, error) {
	turns := make([][]*Turn, len(servers))
	for round := range rounds {
		j.Seed = uint64(round) // servers are asked the same in a round, and something else in the next
		for i, s := range servers {
			t, err := Run(ctx, j, s, func(t *Turn) {
				p.Show("%s · %s · round %d of %d · %d requests", j.Name, s.Name, round+1, rounds, t.Answered())
			})
			if err != nil {
				return nil, err
			}
			turns[i] = append(turns[i], t)
		}
	}
	p.Show("")
	return turns, nil
}

// Median is of the rounds, by what of says.
func Median[N cmp.Ordered](turns []*Turn, of func(*Turn) N) N {
	values := make([]N, len(turns))
	for i, t := range turns {
		values[i] = of(t)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// Load writes each key once, in order.
func Load(ctx context.Context, s *Server, keys int64, sizes Sizes, ttl time.Duration, p Progress) error {
	j := &Job{Name: "load", Mix: Mixes["set"], Clients: 8, Pipeline: 128, Sizes: sizes, TTL: ttl, Count: keys, For: time.Hour}
	if ttl > 0 {
		j.Mix = Mixes["set-ttl"]
	}
	var err error
	if j.Keys, err = ParseKeys("seq", keys); err != nil {
		return err
	}
	_, err = Run(ctx, j, s, func(t *Turn) { p.Show("load · %s · %d of %d keys", s.Name, t.Answered(), keys) })
	p.Show("")
	return err
}

// Progress is a line that is written over, if somebody watches.
type Progress struct{ to io.Writer }

// ProgressOn shows it on f if that is a terminal.
func ProgressOn(f *os.File) Progress {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return Progress{f}
	}
	return Progress{}
}

// Show replaces the line.
func (p Progress) Show(format string, args ...any) {
	if p.to != nil {
		fmt.Fprintf(p.to, "\r\033[K"+format, args...)
	}
}
