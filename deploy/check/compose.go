package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
)

// secrets stand for what an operator fills in.
var secrets = types.Mapping{
	"CREMA_REQUIREPASS":         "password1",
	"CREMA_REST_TOKEN":          "token1",
	"CREMA_REST_READONLY_TOKEN": "token2",
	"CREMA_CLUSTER_SECRET":      "secret1",
	"GRAFANA_PASSWORD":          "password2",
}

// readCompose reads a file as docker compose does, against its schema.
func readCompose(path string, environment types.Mapping) (*types.Project, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  here,
		ConfigFiles: []types.ConfigFile{{Filename: path}},
		Environment: environment,
	})
}

// checkCompose also looks at what the schema does not know: whether the files
// are there, and whether a password that is not set is noticed.
func checkCompose(path string) error {
	logrus.SetLevel(logrus.ErrorLevel) // it warns of each variable that is not set
	if _, err := readCompose(path, nil); err == nil {
		return errors.New("it starts without passwords")
	}
	project, err := readCompose(path, secrets)
	if err != nil {
		return err
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		s := project.Services[name]
		tell := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
		}
		if b := s.Build; b != nil {
			if _, err := os.Stat(filepath.Join(b.Context, b.Dockerfile)); err != nil {
				tell("%v", err)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				if _, err := os.Stat(v.Source); err != nil {
					tell("%v", err)
				}
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				tell("port %s is open to everybody", p.Published)
			}
		}
		if s.Build == nil && !strings.Contains(s.Image, ":") {
			tell("image %s has no version", s.Image)
		}
	}
	return errors.Join(wrong...)
}

// composeNodes are the services that run crema.
func composeNodes(path string) ([]node, error) {
	project, err := readCompose(path, secrets)
	if err != nil {
		return nil, err
	}
	var nodes []node
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		s := project.Services[name]
		if s.Image != "crema" {
			continue
		}
		img, err := readDockerfile("Dockerfile")
		if err != nil {
			return nil, err
		}
		for key, value := range s.Environment {
			img.env[key] = *value
		}
		nodes = append(nodes, node{name: name, image: img, readOnly: s.ReadOnly})
	}
	return nodes, nil
}
