"""The manifests against Kubernetes' own schemas, and what the schemas do not know: that names fit together."""

from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
_KUBERNETES = "1.33"
_LISTED: list[str] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
OBJECTS: list[dict[str, Any]] = [one for name in _LISTED for one in yaml.safe_load_all((FOLDER / name).read_text())]
PODS = {
    f"{one['kind']} {one['metadata']['name']}": template["spec"]
    for one in OBJECTS
    for template in [
        one.get("spec", {}).get("template")
        or one.get("spec", {}).get("jobTemplate", {}).get("spec", {}).get("template")
    ]
    if template
}


def _named(kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in OBJECTS if one["kind"] == kind}


def test_every_file_is_listed() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*_LISTED, "kustomization.yaml"}


@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_it_fits_the_schema(one: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    validator.validate(one, _KUBERNETES, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_pods_are_shut(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_what_pods_name_is_there(name: str) -> None:
    pod = PODS[name]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        assert {source["configMapRef"]["name"] for source in container["envFrom"]} <= _named("ConfigMap")
    claimed = {
        volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "persistentVolumeClaim" in volume
    }
    assert claimed <= _named("PersistentVolumeClaim")


def test_selectors_find_the_api() -> None:
    [api] = [one for one in OBJECTS if one["kind"] == "Deployment" and one["metadata"]["name"] == "api"]
    labels = api["spec"]["template"]["metadata"]["labels"].items()
    assert api["spec"]["selector"]["matchLabels"].items() <= labels
    [service] = [one for one in OBJECTS if one["kind"] == "Service"]
    [budget] = [one for one in OBJECTS if one["kind"] == "PodDisruptionBudget"]
    assert service["spec"]["selector"].items() <= labels
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    assert {one["spec"]["scaleTargetRef"]["name"] for one in OBJECTS if one["kind"] == "HorizontalPodAutoscaler"} == {
        "api"
    }
