package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// image is what the last stage of a Dockerfile says of the containers made from it.
type image struct {
	env         map[string]string
	user        string
	entrypoint  []string
	healthcheck []string // behind CMD
}

// checkDockerfile reads a file as docker build does; what it would warn of is an error.
func checkDockerfile(path string) error {
	_, err := readDockerfile(path)
	return err
}

func readDockerfile(path string) (image, error) {
	img := image{env: map[string]string{}}
	text, err := os.ReadFile(path)
	if err != nil {
		return img, err
	}
	file, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return img, err
	}
	var wrong []error
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		wrong = append(wrong, fmt.Errorf("%s: %s", rule, message))
	}})
	stages, _, err := instructions.Parse(file.AST, lint)
	if err != nil {
		return img, err
	}
	for _, w := range file.Warnings {
		wrong = append(wrong, errors.New(w.Short))
	}
	for _, command := range stages[len(stages)-1].Commands {
		switch c := command.(type) {
		case *instructions.EnvCommand:
			for _, pair := range c.Env {
				img.env[pair.Key] = pair.Value
			}
		case *instructions.UserCommand:
			img.user = c.User
		case *instructions.EntrypointCommand:
			img.entrypoint = c.CmdLine
			if c.PrependShell {
				wrong = append(wrong, errors.New("the entry point asks for a shell"))
			}
		case *instructions.HealthCheckCommand:
			img.healthcheck = c.Health.Test[1:]
		}
	}
	if img.user == "" || img.user == "root" || img.user == "0" {
		wrong = append(wrong, errors.New("it runs as root"))
	}
	return img, errors.Join(wrong...)
}
