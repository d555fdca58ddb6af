package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// manifest is what is in a file of Kubernetes objects.
type manifest struct {
	set      *apps.StatefulSet
	services []*core.Service
	budget   *policy.PodDisruptionBudget
	network  *networking.NetworkPolicy
}

// readManifest knows every field by its type: one that there is not is an error.
func readManifest(path string) (m manifest, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	for i, document := range bytes.Split(text, []byte("\n---\n")) {
		var kind meta.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return m, fmt.Errorf("document %d: %w", i+1, err)
		}
		var into any
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 Service":
			m.services = append(m.services, new(core.Service))
			into = m.services[len(m.services)-1]
		case "apps/v1 StatefulSet":
			m.set = new(apps.StatefulSet)
			into = m.set
		case "policy/v1 PodDisruptionBudget":
			m.budget = new(policy.PodDisruptionBudget)
			into = m.budget
		case "networking.k8s.io/v1 NetworkPolicy":
			m.network = new(networking.NetworkPolicy)
			into = m.network
		default:
			return m, fmt.Errorf("document %d is a %s of %s", i+1, kind.Kind, kind.APIVersion)
		}
		// As the API server reads it: the case of a name matters, and no name is there twice.
		text, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return m, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		wrong, err := json.UnmarshalStrict(text, into)
		if err := errors.Join(append(wrong, err)...); err != nil {
			return m, fmt.Errorf("%s: %w", kind.Kind, err)
		}
	}
	if m.set == nil || m.budget == nil || m.network == nil || len(m.services) == 0 {
		return m, errors.New("something is missing")
	}
	return m, nil
}

// checkManifest looks at what the types do not know: whether names that must
// be the same are.
func checkManifest(path string) error {
	m, err := readManifest(path)
	if err != nil {
		return err
	}
	var wrong []error
	tell := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	pod := m.set.Spec.Template
	container := pod.Spec.Containers[0]
	ports := map[string]bool{}
	for _, p := range container.Ports {
		ports[p.Name] = true
	}
	selects := func(what string, s *meta.LabelSelector) {
		selector, err := meta.LabelSelectorAsSelector(s)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
			tell("%s does not select the pods: %v", what, err)
		}
	}
	selects("the set", m.set.Spec.Selector)
	selects("the budget", m.budget.Spec.Selector)
	selects("the network policy", &m.network.Spec.PodSelector)
	for _, term := range pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		selects("the anti-affinity", term.LabelSelector)
	}
	for _, constraint := range pod.Spec.TopologySpreadConstraints {
		selects("the spread", constraint.LabelSelector)
	}
	headless := false
	for _, s := range m.services {
		selects("service "+s.Name, &meta.LabelSelector{MatchLabels: s.Spec.Selector})
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort.String()] {
				tell("service %s: there is no port %s", s.Name, p.TargetPort.String())
			}
		}
		headless = headless || s.Name == m.set.Spec.ServiceName && s.Spec.ClusterIP == core.ClusterIPNone
	}
	if !headless {
		tell("%s is no headless service", m.set.Spec.ServiceName)
	}
	for name, probe := range map[string]*core.Probe{"startup": container.StartupProbe, "liveness": container.LivenessProbe, "readiness": container.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || !ports[probe.HTTPGet.Port.String()] {
			tell("the %s probe asks at no port that there is", name)
		}
	}
	for _, rule := range m.network.Spec.Ingress {
		for _, p := range rule.Ports {
			if !ports[p.Port.String()] {
				tell("the network policy: there is no port %s", p.Port.String())
			}
		}
	}
	claims := map[string]bool{}
	for _, c := range m.set.Spec.VolumeClaimTemplates {
		claims[c.Name] = true
	}
	for _, v := range container.VolumeMounts {
		if !claims[v.Name] {
			tell("nothing is claimed for volume %s", v.Name)
		}
	}
	return errors.Join(wrong...)
}

// manifestNodes are the pods.
func manifestNodes(path string) ([]node, error) {
	m, err := readManifest(path)
	if err != nil {
		return nil, err
	}
	pod := m.set.Spec.Template.Spec
	container := pod.Containers[0]
	var nodes []node
	for i := range int(*m.set.Spec.Replicas) {
		img, err := readDockerfile("Dockerfile")
		if err != nil {
			return nil, err
		}
		name := m.set.Name + "-" + strconv.Itoa(i)
		for _, e := range container.Env {
			switch from := e.ValueFrom; {
			case from == nil:
				img.env[e.Name] = e.Value
			case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.name":
				img.env[e.Name] = name
			case from.SecretKeyRef != nil:
				img.env[e.Name] = secrets[e.Name]
			default:
				return nil, fmt.Errorf("%s comes from nowhere", e.Name)
			}
		}
		img.user = fmt.Sprintf("%d:%d", *pod.SecurityContext.RunAsUser, *pod.SecurityContext.RunAsGroup)
		nodes = append(nodes, node{
			name:     name + "." + m.set.Spec.ServiceName,
			image:    img,
			group:    int(*pod.SecurityContext.FSGroup),
			readOnly: *container.SecurityContext.ReadOnlyRootFilesystem,
			alive:    container.LivenessProbe.HTTPGet.Path,
			ready:    container.ReadinessProbe.HTTPGet.Path,
		})
	}
	return nodes, nil
}
