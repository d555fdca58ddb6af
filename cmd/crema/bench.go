package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"crema/internal/load"
)

// bench is `crema bench`: how fast a server is, ours or any that speaks Redis's
// protocol, and what it costs where it runs on this machine.
func bench(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("crema bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), "crema bench -u redis://… [-rival redis://…] [flags] measures throughput, latency and, of a server on this machine, CPU time.\nIt writes keys named key:…, lck:… and cnt:…, and leaves them there.\n\n")
		fs.PrintDefaults()
	}
	server := env("REDIS_URL")
	if server == "" {
		server = "redis://127.0.0.1:6379"
	}
	var m load.Command
	m.Flags(fs, server)
	ca := fs.String("tls-ca-cert-file", "", "CA of the server's certificate, PEM")
	insecure := fs.Bool("tls-insecure", false, "take any certificate")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage // fs has said why
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "crema: unexpected word %q: flags look like --name value\n", fs.Arg(0))
		return exitUsage
	}
	config := &tls.Config{InsecureSkipVerify: *insecure}
	if *ca != "" {
		var err error
		if config.RootCAs, err = readCA(*ca); err != nil {
			fmt.Fprintf(stderr, "crema: %v\n", err)
			return exitUsage
		}
	}
	if err := m.Check(config); err != nil {
		fmt.Fprintf(stderr, "crema: %v\n", err)
		return exitUsage
	}
	progress := load.Progress{}
	if f, ok := stderr.(*os.File); ok {
		progress = load.ProgressOn(f)
	}
	if err := m.Run(ctx, stdout, progress); err != nil {
		fmt.Fprintf(stderr, "crema: %v\n", err)
		return exitFailed
	}
	return exitOK
}
