"""The compose file agrees with its documentation and its readers; `make compose-test` runs the containers."""

import re
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).parents[2]
_COMPOSE = (_ROOT / "docker-compose.yml").read_text()
_EXAMPLE = (_ROOT / ".env.example").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(_COMPOSE)["services"]
_SETTING = re.compile(r"(?<!\$)\$\{([A-Z_]+):-([^}]*)\}")
_EXPLAINED = re.compile(r"^#([A-Z_]+)=(.*)$", re.MULTILINE)


def test_every_setting_has_a_default_and_a_description() -> None:
    assert not re.search(r"(?<!\$)\$\{[A-Z_]+\}", _COMPOSE), "a setting without a default is empty where nobody sets it"
    explained = {name for name, _ in _EXPLAINED.findall(_EXAMPLE)}
    # the file's own name, and where secrets of the caller's lie, are told by another line
    assert {name.removesuffix("_FILE") for name, _ in _SETTING.findall(_COMPOSE)} - {"RETORT_KEYS"} <= explained


def test_defaults_in_the_example_file_are_those_of_the_containers() -> None:
    _, of_compose = _EXAMPLE.split("Compose alone", 1)
    said = dict(_EXPLAINED.findall(of_compose))
    defaults = dict(_SETTING.findall(_COMPOSE))
    assert said.keys() <= defaults.keys(), "nobody reads it"
    # a default that is another service's, or a volume's name, is told in words
    told = {name for name in said if said[name].startswith("./")} | {"REFRESH_RECIPE"}
    assert {name: defaults[name] for name in said if name not in told} == {
        name: value for name, value in said.items() if name not in told
    }


def test_no_port_is_published_beyond_loopback_by_default() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith(("127.0.0.1:", "${PUBLISH:-127.0.0.1}:")), name


def test_long_running_services_have_memory_limits_and_restart() -> None:
    once = {"secrets", "migrate", "bootstrap"}
    on_a_gpu = {"worker-gpu", "llm"}  # what a model needs, its machine has
    for name, service in SERVICES.items():
        if name not in once:
            assert service["restart"] == "unless-stopped", name
            assert name in on_a_gpu or "mem_limit" in service, name
        assert "max-size" in service["logging"]["options"], name


def test_prometheus_scrapes_existing_services_at_their_ports() -> None:
    scraped = yaml.safe_load((_ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    for job in scraped:
        for found in job.get("dns_sd_configs", []):
            [service] = found["names"]
            assert SERVICES[service]["expose"] == [str(found["port"])]
