package validate_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// build runs kustomize on a folder and decodes every object strictly: an unknown or repeated field is an error.
func build(t *testing.T, folder string) map[string]runtime.Object {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	require.NoError(t, err)
	out, err := built.AsYaml()
	require.NoError(t, err)

	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme, autoscalingv2.AddToScheme,
	} {
		require.NoError(t, add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	objects := map[string]runtime.Object{}
	for documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(out))); ; {
		document := make([]byte, 1<<20)
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		object, kind, err := decoder.Decode(document[:n], nil, nil)
		require.NoError(t, err, "%s", document[:n])
		named, ok := object.(metav1.Object)
		require.True(t, ok)
		objects[kind.Kind+"/"+named.GetName()] = object
	}
	return objects
}

// one returns the only object of its type.
func one[T runtime.Object](t *testing.T, objects map[string]runtime.Object) T {
	t.Helper()
	var found []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			found = append(found, typed)
		}
	}
	require.Len(t, found, 1)
	return found[0]
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	objects := build(t, root+"/deploy/kubernetes/base")
	d := one[*appsv1.Deployment](t, objects)
	pod := d.Spec.Template

	// Whatever selects pods selects these.
	for name, selector := range map[string]*metav1.LabelSelector{
		"deployment": d.Spec.Selector,
		"budget":     one[*policyv1.PodDisruptionBudget](t, objects).Spec.Selector,
		"policy":     &one[*networkingv1.NetworkPolicy](t, objects).Spec.PodSelector,
		"spread":     pod.Spec.TopologySpreadConstraints[0].LabelSelector,
	} {
		s, err := metav1.LabelSelectorAsSelector(selector)
		require.NoError(t, err, name)
		require.False(t, s.Empty(), "%s must not select the pods of others", name)
		require.True(t, s.Matches(labels.Set(pod.Labels)), name)
	}
	ports := map[string]int32{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	require.Equal(t, map[string]int32{"http": 8080, "metrics": 9090}, ports)
	for _, o := range objects {
		if s, ok := o.(*corev1.Service); ok {
			require.True(t, labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)), s.Name)
			require.Len(t, s.Spec.Ports, 1)
			require.Contains(t, ports, s.Spec.Ports[0].TargetPort.String(), s.Name)
		}
	}

	// A rollout takes nothing away before the new pod has migrated and is ready.
	require.Zero(t, d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
	require.Greater(t, *d.Spec.Replicas, int32(1))
	require.Len(t, pod.Spec.InitContainers, 1)
	migrate, serve := pod.Spec.InitContainers[0], pod.Spec.Containers[0]
	require.Equal(t, []string{"migrate", "up"}, migrate.Args)
	require.Equal(t, migrate.Image, serve.Image, "the migrations are those of the version that is rolled out")
	require.Equal(t, "/livez", serve.StartupProbe.HTTPGet.Path)
	require.Equal(t, "/livez", serve.LivenessProbe.HTTPGet.Path, "the database being away restarts nothing")
	require.Equal(t, "/readyz", serve.ReadinessProbe.HTTPGet.Path)
	require.GreaterOrEqual(t, *pod.Spec.TerminationGracePeriodSeconds, int64(40), "the drain takes so long")

	// Secrets come as files, and only by reference.
	for name := range objects {
		require.NotContains(t, name, "Secret/", "the secret is the operator's")
	}
	require.Equal(t, "ums", pod.Spec.Volumes[0].Secret.SecretName)

	// Confined: the strictest of the pod security standards takes it.
	standards, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	result := policy.AggregateCheckResults(standards.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
	require.True(t, result.Allowed, result.ForbiddenDetail())
	require.False(t, *pod.Spec.AutomountServiceAccountToken)
	require.False(t, *one[*corev1.ServiceAccount](t, objects).AutomountServiceAccountToken)
	require.False(t, *pod.Spec.EnableServiceLinks)
	require.True(t, *pod.Spec.SecurityContext.RunAsNonRoot)
	require.Equal(t, int64(65532), *pod.Spec.SecurityContext.RunAsUser, "the image's user")
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.Spec.SecurityContext.SeccompProfile.Type)
	for _, c := range []corev1.Container{migrate, serve} {
		require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, c.Name)
		require.False(t, *c.SecurityContext.AllowPrivilegeEscalation, c.Name)
		require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, c.Name)
		require.NotZero(t, c.Resources.Limits.Memory().Value(), c.Name)
	}
}

func TestKubernetesOverlayToCopy(t *testing.T) {
	t.Parallel()
	objects := build(t, root+"/deploy/kubernetes/example")
	d := one[*appsv1.Deployment](t, objects)
	require.Equal(t, "ums", d.Namespace)
	require.Nil(t, d.Spec.Replicas, "the autoscaler says how many; each apply would set it back")
	require.Equal(t, d.Name, one[*autoscalingv2.HorizontalPodAutoscaler](t, objects).Spec.ScaleTargetRef.Name)
	settings := one[*corev1.ConfigMap](t, objects)
	require.Equal(t, settings.Name, d.Spec.Template.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name)
	require.Equal(t, "https://id.example.org", settings.Data["UMS_PUBLIC_URL"], "the overlay's")
	require.NotEmpty(t, settings.Data["UMS_MAIL_FROM"], "the base's")
	require.Equal(t, "ghcr.io/user-management-service/ums:v1.0.0", d.Spec.Template.Spec.Containers[0].Image)
}
