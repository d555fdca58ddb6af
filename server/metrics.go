package server

import (
	"log/slog"
	"net/http"
	"runtime"

	"crema/internal/durations"
	"crema/server/gateway"
	"crema/store"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsPage is /metrics: what INFO shows and more, for Prometheus. Nothing is
// counted for it a second time: a scrape reads the counters that commands,
// connections and the log keep anyway.
//
// Caveats: CONFIG RESETSTAT sets most counters back to 0, which rate() takes for a
// restart. Figures of one scrape are of slightly different moments.
type metricsPage struct {
	s       *Server
	handler http.Handler
}

const (
	metricPrefix = "crema_"
	maxScrapes   = 4 // at the same time
)

// newMetrics is called once: a registry of its own lets a program hold many servers.
func (s *Server) newMetrics() *metricsPage {
	m := &metricsPage{s: s}
	r := prometheus.NewRegistry()
	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{s.log},
		ErrorHandling:       promhttp.ContinueOnError, // the rest is still worth having
		MaxRequestsInFlight: maxScrapes,
	})
	return m
}

// scrapeLog is promhttp's way to say that two metrics contradict each other.
type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.log.Error("scrape of /metrics", "problem", v) }

// serve answers whoever has any token, as a bearer's or as the password of basic
// authentication. Channels and keys are not in it, but how busy the server is.
func (m *metricsPage) serve(w http.ResponseWriter, r *http.Request, _ gateway.User) {
	if !m.s.cfg.MetricsOpen && m.s.tokenHolder(r) == nil {
		m.s.http.Unauthorized(w, r)
		return
	}
	m.handler.ServeHTTP(w, r)
}

// tokenHolder is whose token a request shows, nil if it is nobody's.
func (s *Server) tokenHolder(r *http.Request) *user {
	token := gateway.Token(r)
	if _, password, ok := r.BasicAuth(); ok {
		token = password
	}
	u, _ := s.door.User(token).(*user)
	return u
}

// view is what one scrape looks at.
type view struct {
	s     *Server
	store store.Stats
	log   *LogFigures // nil without a log that tells

	clients, subscribers, monitors int
	channels, patterns, shards     int
	trackers, trackedKeys          int64
	history                        historyFigures
	buffered                       int64
}

func (s *Server) view() *view {
	v := &view{s: s, store: s.store.Stats(), buffered: s.clientBytes()}
	s.clients.each(func(c *conn) {
		v.clients++
		if c.subscribed() {
			v.subscribers++
		}
		if c.monitor.Load() {
			v.monitors++
		}
	})
	v.channels, v.patterns, v.shards = s.pubsub.listenedTo()
	v.trackers, v.trackedKeys, _, _ = s.tracking.counts()
	v.history = s.pubsub.histories.figures()
	if log, ok := s.cluster.(Measured); ok {
		figures := log.Figures()
		v.log = &figures
	}
	return v
}

// metric is one of the table's: a name without the prefix, and how to read it.
type metric[T any] struct {
	name, help string
	kind       prometheus.ValueType
	read       func(T) float64
}

func (m metric[T]) desc() *prometheus.Desc { return describe(m.name, m.help) }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(metricPrefix+name, help, labels, nil)
}

// Describe is prometheus.Collector's.
func (m *metricsPage) Describe(to chan<- *prometheus.Desc) {
	for _, d := range labelled {
		to <- d
	}
	for _, row := range plainMetrics {
		to <- row.desc()
	}
	for _, row := range httpMetrics {
		to <- row.desc()
	}
	for _, row := range logMetrics {
		to <- row.desc()
	}
}

// Collect is prometheus.Collector's: a scrape.
func (m *metricsPage) Collect(to chan<- prometheus.Metric) {
	v := m.s.view()
	collectRows(to, plainMetrics, v)
	collectRows(to, httpMetrics, &m.s.http.Stats)
	v.collectCommands(to)
	v.collectErrors(to)
	v.collectEntries(to)
	tell(to, descBuild, prometheus.GaugeValue, 1, Version, RedisVersion, runtime.Version())
	tell(to, descHTTPConnections, prometheus.GaugeValue, float64(m.s.http.Conns()))
	delays := m.s.http.Stats.Delays.Read()
	tellDurations(to, descStreamDelay, &delays)
	if v.log != nil {
		collectRows(to, logMetrics, v.log)
		v.collectLog(to)
	}
}

func collectRows[T any](to chan<- prometheus.Metric, rows []metric[T], from T) {
	for _, row := range rows {
		tell(to, row.desc(), row.kind, row.read(from))
	}
}

func tell(to chan<- prometheus.Metric, d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
}

// shownBounds are the buckets that histograms show, as powers of two of
// nanoseconds: 256 ns to 4.3 s, close together where most commands are.
var shownBounds = []int{8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 21, 22, 23, 24, 26, 28, 30, 32}

// tellDurations shows a histogram. What took exactly a bound is above it, where
// Prometheus would have it below: a nanosecond.
func tellDurations(to chan<- prometheus.Metric, d *prometheus.Desc, c *durations.Counts, labels ...string) {
	total, below := c.Cumulate(shownBounds)
	to <- prometheus.MustNewConstHistogram(d, total, float64(c.Nanos)/1e9, below, labels...)
}
