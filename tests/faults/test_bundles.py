"""Bundles that change while they are asked, and bundles that are damaged: nobody gets a wrong answer."""

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from retort.serving.models.bundles import load_bundle
from retort.shared.model.bundle import MODEL
from retort.shared.model.manifest import MANIFEST
from tests.faults._watch import Load, metric, soon
from tests.faults.conftest import Registry
from tests.serving._graphs import make_bundle
from tests.serving._process import Server, serving_process

REQUEST: dict[str, Any] = {"history": ["i1", "i2", "i3"], "k": 5}


def expected(path: Path) -> list[str]:
    """What a bundle answers to REQUEST."""
    live = load_bundle(path)
    history = live.catalogue.index.indexes(REQUEST["history"])
    items, _ = live.scorer.top_k([history], 5).row(0)
    return [live.catalogue.ids[item] for item in items]


@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.long)])
def test_swaps_and_rollbacks_under_load_fail_nobody(
    bundles: list[Path], published: Registry, tmp_path: Path, rounds: int
) -> None:
    right = {path.name: expected(path) for path in bundles}
    assert right[bundles[0].name] != right[bundles[1].name]
    with serving_process(tmp_path, database_url=published.url, retort_follow_every_s=0.02) as server:
        server.ready()
        with Load(server.url, REQUEST) as load_:
            for _ in range(rounds):
                published.promote(bundles[1])
                soon(lambda: serves(server) == bundles[1].name)
                published.roll_back()
                soon(lambda: serves(server) == bundles[0].name)
        assert metric(server, "retort_bundle_swaps_total", outcome="taken") == 2 * rounds + 1
        assert metric(server, "retort_bundle_swaps_total") == 2 * rounds + 1
    print(f"{2 * rounds} swaps, {len(load_.answers)} answers")
    assert not load_.broken
    assert not load_.refusals
    assert {answer["model"]["version"] for answer in load_.answers} == set(right)
    for answer in load_.answers:
        assert [item["item_id"] for item in answer["items"]] == right[answer["model"]["version"]]


def test_damaged_bundles_never_answer(bundles: list[Path], published: Registry, tmp_path: Path) -> None:
    damaged = {how: make_bundle(tmp_path, seed=seed) for seed, how in enumerate(DAMAGES, start=7)}
    for path in damaged.values():
        published.publish(path)
    with serving_process(tmp_path, database_url=published.url, retort_follow_every_s=0.05) as server:
        server.ready()
        for refused, (how, path) in enumerate(damaged.items(), start=1):
            DAMAGES[how](path)
            published.promote(path)
            soon(lambda: metric(server, "retort_bundle_swaps_total", outcome="refused") == refused)  # noqa: B023
            refusal = httpx.get(f"{server.url}/models").json()["models"][0]["refusals"][-1]
            assert path.name in refusal["where"], how
            answer = httpx.post(f"{server.url}/recommend", json=REQUEST).json()
            assert answer["model"]["version"] == bundles[0].name, how
            assert metric(server, "retort_model_info", version=bundles[0].name) == 1


def test_a_bundle_that_is_removed_goes_on_until_the_restart(
    bundles: list[Path], published: Registry, tmp_path: Path
) -> None:
    lost = make_bundle(tmp_path, seed=20)
    published.publish(lost)
    published.promote(lost)
    settings: dict[str, Any] = {"database_url": published.url, "retort_follow_every_s": 0.05}
    with serving_process(tmp_path, **settings) as server:
        server.ready()
        _remove(lost)
        answer = httpx.post(f"{server.url}/recommend", json=REQUEST).json()
        assert (answer["model"]["version"], answer["source"]) == (lost.name, "student")
    with serving_process(tmp_path, **settings) as server:
        soon(lambda: metric(server, "retort_bundle_swaps_total", outcome="refused") == 1)
        refused = httpx.post(f"{server.url}/recommend", json=REQUEST)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert httpx.get(f"{server.url}/health/ready").status_code == 503
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        published.roll_back()
        server.ready()
        answer = httpx.post(f"{server.url}/recommend", json=REQUEST).json()
        assert answer["model"]["version"] == bundles[0].name


def serves(server: Server) -> str | None:
    version: str | None = httpx.get(f"{server.url}/models").json()["models"][0]["version"]
    return version


def _flip(path: Path) -> None:
    data = bytearray((path / MODEL).read_bytes())
    data[len(data) // 2] ^= 1
    (path / MODEL).write_bytes(data)


def _halve(path: Path) -> None:
    data = (path / MODEL).read_bytes()
    (path / MODEL).write_bytes(data[: len(data) // 2])


def _half_written(path: Path) -> None:
    """The manifest is there, files that it names are not yet."""
    (path / MODEL).unlink()


def _other_format(path: Path) -> None:
    manifest = orjson.loads((path / MANIFEST).read_bytes())
    (path / MANIFEST).write_bytes(orjson.dumps({**manifest, "format_version": 999}))


def _remove(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


DAMAGES = {"flip": _flip, "cut": _halve, "half": _half_written, "format": _other_format, "gone": _remove}
