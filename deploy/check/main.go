// Command check reads what is deployed as the tools that will read it do, and
// runs the nodes it describes by hand where there are no containers.
//
//	check -crema BIN        the Dockerfiles, compose files and manifests
//	check -crema BIN nodes  what these say, run: needs root and network namespaces
//
// It is run in deploy/, by check.sh.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

type check struct {
	name string
	run  func(crema string) error
}

func main() {
	crema := flag.String("crema", "", "the binary")
	flag.Parse()
	checks := []check{
		{"Dockerfile", func(string) error { return checkDockerfile("Dockerfile") }},
		{"app.Dockerfile", func(string) error { return checkDockerfile("app.Dockerfile") }},
		{"compose.yaml", func(string) error { return checkCompose("compose.yaml") }},
		{"compose.cluster.yaml", func(string) error { return checkCompose("compose.cluster.yaml") }},
		{"kubernetes.yaml", func(string) error { return checkManifest("kubernetes.yaml") }},
		{"names of flags", checkFlags},
	}
	if flag.Arg(0) == "nodes" {
		checks = []check{
			byHand("compose.yaml", composeNodes),
			byHand("compose.cluster.yaml", composeNodes),
			byHand("kubernetes.yaml", manifestNodes),
		}
	}
	failed := false
	for _, c := range checks {
		if err := c.run(*crema); err != nil {
			fmt.Fprintf(os.Stderr, "FAILED: %s: %v\n", c.name, err)
			failed = true
			continue
		}
		fmt.Printf("ok: %s\n", c.name)
	}
	if failed {
		os.Exit(1)
	}
}

// byHand runs the nodes that a file describes.
func byHand(path string, read func(path string) ([]node, error)) check {
	return check{"nodes of " + path, func(crema string) error {
		nodes, err := read(path)
		if err != nil {
			return err
		}
		return runNodes(crema, nodes)
	}}
}

// checkFlags finds every CREMA_… that is set somewhere among the flags that
// the binary has.
func checkFlags(crema string) error {
	help, err := exec.Command(crema, "--help").Output()
	if err != nil {
		return fmt.Errorf("%s --help: %w", crema, err)
	}
	var known []string
	for _, m := range regexp.MustCompile(`(?m)^  --([a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		known = append(known, "CREMA_"+strings.ToUpper(strings.ReplaceAll(m[1], "-", "_")))
	}
	var wrong []error
	for _, file := range []string{"Dockerfile", "compose.yaml", "compose.cluster.yaml", "compose.env.example", "kubernetes.yaml", "crema.service"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, name := range regexp.MustCompile(`CREMA_[A-Z][A-Z_]*[A-Z]`).FindAllString(string(text), -1) {
			if !slices.Contains(known, name) && name != "CREMA_NAME" && name != "CREMA_PORT" { // a placeholder, and a warning
				wrong = append(wrong, fmt.Errorf("%s: %s is no flag", file, name))
			}
		}
	}
	return errors.Join(wrong...)
}
