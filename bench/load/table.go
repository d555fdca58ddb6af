package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// printTable is one line for each contender, with ratios to the last.
func printTable(w io.Writer, j job, contenders []contender, results [][]turn) {
	load := fmt.Sprintf("closed loop, pipeline %d", j.pipeline)
	if j.rate > 0 {
		load = fmt.Sprintf("open loop, %.0f/s, pipeline %d", j.rate, j.pipeline)
	}
	fmt.Fprintf(w, "%s: %d clients, %s, %d B values, median of %d\n", j.name, j.clients, load, j.size, len(results[0]))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tops/s\tratio\tCPU/op\tratio\tp50\tp99\tp99.9\twrong\t")
	speed := func(t turn) float64 { return t.perSecond() }
	cpu := func(t turn) time.Duration { return t.cpuEach() }
	at := func(q float64) func(turn) int64 {
		return func(t turn) int64 { return t.latency.ValueAtQuantile(q) }
	}
	last := results[len(results)-1]
	for i, c := range contenders {
		wrong := int64(0)
		for _, r := range results[i] {
			wrong += r.wrong
		}
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t\n", c.name,
			median(results[i], speed), ratio(median(results[i], speed), median(last, speed)),
			short(median(results[i], cpu)), ratio(float64(median(results[i], cpu)), float64(median(last, cpu))),
			short(time.Duration(median(results[i], at(50)))), short(time.Duration(median(results[i], at(99)))),
			short(time.Duration(median(results[i], at(99.9)))), wrong)
	}
	t.Flush()
	fmt.Fprintln(w)
}

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// short shows three digits, in µs or ms.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/1e3)
	default:
		return fmt.Sprintf("%.3gms", float64(d)/1e6)
	}
}
