package load

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// Colours of servers in charts, in their order.
var colours = [...]string{"#2a7f62", "#c4472f", "#3d5a98", "#b58a1b", "#7a4fa3"}

const font = `font-family="system-ui,sans-serif" font-size="12"`

// Latencies is a chart, SVG, of latency by quantile: a line for each server, of all
// its turns together.
func Latencies(j *Job, servers []*Server, turns [][]*Turn) []byte {
	const width, height, left, top, bottom = 720, 400, 70, 50, 60
	quantiles := [...]float64{10, 50, 90, 99, 99.9, 99.99, 99.999}
	lowest, highest := math.Inf(1), 0.0
	sums := make([]Tally, len(servers))
	for i := range servers {
		sums[i] = newTally()
		for _, t := range turns[i] {
			sums[i].add(t.Tally)
		}
		lowest = min(lowest, float64(sums[i].At(quantiles[0])))
		highest = max(highest, float64(sums[i].At(100)))
	}
	lowest = math.Pow(10, math.Floor(math.Log10(max(lowest, 1000))))
	highest = max(math.Pow(10, math.Ceil(math.Log10(max(highest, 1000)))), 10*lowest)
	x := func(i float64) float64 { return left + i*(width-left-40)/float64(len(quantiles)-1) }
	y := func(ns float64) float64 {
		share := (math.Log10(max(ns, lowest)) - math.Log10(lowest)) / (math.Log10(highest) - math.Log10(lowest))
		return height - bottom - share*(height-bottom-top)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" %s><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", width, height, font)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="15">%s: latency by quantile</text>`+"\n", left, html.EscapeString(j.Name))
	for ns := lowest; ns <= highest*1.01; ns *= 10 {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y(ns), width-20, left-8, y(ns)+4, Short(time.Duration(ns)))
	}
	for i, q := range quantiles {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#eee"/><text x="%.1f" y="%d" text-anchor="middle">p%g</text>`+"\n",
			x(float64(i)), top, height-bottom, x(float64(i)), height-bottom+18, q)
	}
	for i, s := range servers {
		var line strings.Builder
		for k := range quantiles {
			fmt.Fprintf(&line, "%.1f,%.1f ", x(float64(k)), y(float64(sums[i].At(quantiles[k]))))
		}
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, line.String(), colour)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", left+160*i, height-14, colour, html.EscapeString(s.Name))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// Bar is one ratio of a chart.
type Bar struct {
	Name   string
	Ratio  float64
	Target float64 // 0 when there is none
	Met    bool
}

// Bars is a chart, SVG, of ratios: shorter is better. A mark is the target, and the
// colour says whether it is met.
func Bars(title string, bars []Bar) []byte {
	const width, left, each, top = 760, 280, 22, 54
	longest := 1.0
	for _, bar := range bars {
		longest = max(longest, bar.Ratio, bar.Target)
	}
	longest = min(longest, 4) * 1.02
	height := top + each*len(bars) + 30
	x := func(r float64) float64 { return left + min(r, longest)/longest*(width-left-70) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" %s><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", width, height, font)
	fmt.Fprintf(&b, `<text x="16" y="24" font-size="15">%s</text>`+"\n", html.EscapeString(title))
	fmt.Fprintf(&b, `<text x="16" y="%d" fill="#666">shorter is better; the mark is the target: green is met, red is not, blue has none</text>`+"\n", height-8)
	fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#999" stroke-dasharray="3 3"/><text x="%.1f" y="%d" text-anchor="middle">1.0</text>`+"\n",
		x(1), top-6, height-28, x(1), top-10)
	for i, bar := range bars {
		y, colour := top+each*i, colours[0]
		switch {
		case bar.Target == 0:
			colour = colours[2]
		case !bar.Met:
			colour = colours[1]
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`,
			left-8, y+14, html.EscapeString(bar.Name), left, y+3, x(bar.Ratio)-left, each-7, colour)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%.2f</text>`, x(bar.Ratio)+6, y+14, bar.Ratio)
		if bar.Target > 0 {
			fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#000" stroke-width="2"/>`, x(bar.Target), y+1, y+each-2)
		}
		b.WriteByte('\n')
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
