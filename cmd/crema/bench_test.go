package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBench(t *testing.T) {
	_, address := start(t, nil, "--port", "0", "--requirepass", "secret")
	chart := filepath.Join(t.TempDir(), "chart.svg")
	url := "redis://:secret@" + address
	for _, c := range []struct {
		args []string
		code int
		want string // of either output
	}{
		{[]string{"-u", url, "--rival", url + "/0", "--mix", "cache-aside", "--dist", "zipf:1.01", "--duration", "50ms", "--warmup", "0s", "--keys", "1000",
			"--size", "1-100", "--rounds", "2", "--preload", "--svg", chart}, exitOK, "cache-aside: 50 clients, closed loop, pipeline 1, 1-100 B values, median of 2"},
		{[]string{"-u", url, "--mix", "lock", "--rate", "1000", "--duration", "50ms", "--warmup", "0s"}, exitOK, "open loop, 1000/s"},
		{[]string{"-u", url, "--mix", "fanout", "--clients", "1", "--subscribers", "3", "--stalled", "1", "--duration", "50ms", "--warmup", "0s"}, exitOK, "CPU/delivery"},
		{[]string{"-u", url, "--mix", "fanout", "--subscribers", "3", "--patterns", "4"}, exitUsage, "-subscribers"},
		{[]string{"-u", "redis://" + address, "--duration", "50ms"}, exitFailed, "NOAUTH"},
		{[]string{"-u", "redis://:wrong@" + address, "--duration", "50ms"}, exitFailed, "WRONGPASS"},
		{[]string{"-u", "http://x"}, exitUsage, "redis, rediss and unix"},
		{[]string{"-u", url, "--mix", "nothing"}, exitUsage, "there is no mix"},
		{[]string{"-u", url, "--dist", "normal"}, exitUsage, "no distribution"},
		{[]string{"-u", url, "--size", "0"}, exitUsage, "no sizes"},
		{[]string{"-u", url, "--clients", "0"}, exitUsage, "-clients"},
		{[]string{"-u", url, "more"}, exitUsage, "unexpected word"},
		{[]string{"-h"}, exitOK, "cache-aside, churn, fanout"},
	} {
		var out bytes.Buffer
		code := run(context.Background(), append([]string{"bench"}, c.args...), func(string) string { return "" }, &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.want, &out)
		}
		if strings.Contains(out.String(), "secret") {
			t.Errorf("%v shows the password", c.args)
		}
	}
	if b, err := os.ReadFile(chart); err != nil || !bytes.HasPrefix(b, []byte("<svg ")) {
		t.Errorf("chart: %.20q, %v", b, err)
	}
}
