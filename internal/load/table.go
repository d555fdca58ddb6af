package load

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Table is one line for each server, with ratios to the last.
func Table(w io.Writer, j *Job, servers []*Server, turns [][]*Turn) {
	how := fmt.Sprintf("closed loop, pipeline %d", j.Pipeline)
	if j.Rate > 0 {
		how = fmt.Sprintf("open loop, %.0f/s, pipeline %d", j.Rate, j.Pipeline)
	}
	fmt.Fprintf(w, "%s: %d clients, %s, %s B values, median of %d\n", j.Name, j.Clients, how, j.Sizes, len(turns[0]))
	messages, reads := turns[0][0].heard != nil, turns[0][0].Hits+turns[0][0].Misses > 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	each, unit := (*Turn).Each, "op"
	if messages {
		each, unit = (*Turn).EachDelivery, "delivery"
	}
	fmt.Fprintf(t, "\tops/s\tratio\tCPU/%s\tratio\tp50\tp99\tp99.9\t", unit)
	if reads {
		fmt.Fprint(t, "hits\t")
	}
	fmt.Fprintln(t, "wrong\t")
	at := func(q float64) func(*Turn) time.Duration {
		return func(t *Turn) time.Duration { return t.At(q) }
	}
	last := turns[len(turns)-1]
	for i, s := range servers {
		wrong := int64(0)
		for _, r := range turns[i] {
			wrong += r.Wrong
		}
		speed, cpu := Median(turns[i], (*Turn).PerSecond), Median(turns[i], each)
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t", s.Name, speed, Ratio(speed, Median(last, (*Turn).PerSecond)),
			Short(cpu), Ratio(float64(cpu), float64(Median(last, each))),
			Short(Median(turns[i], at(50))), Short(Median(turns[i], at(99))), Short(Median(turns[i], at(99.9))))
		if reads {
			fmt.Fprintf(t, "%.1f %%\t", 100*Median(turns[i], (*Turn).HitRatio))
		}
		fmt.Fprintf(t, "%d\t\n", wrong)
	}
	t.Flush()
	fmt.Fprintln(w)
}

// Ratio shows a/b, where both are known.
func Ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// Short shows three digits, in µs or ms.
func Short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Microsecond:
		return fmt.Sprintf("%dns", d)
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/1e3)
	default:
		return fmt.Sprintf("%.3gms", float64(d)/1e6)
	}
}
