"""Versions never change, aliases move, and a rollback restores the alias."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from retort.shared.model import registry
from retort.shared.model.manifest import Manifest
from retort.shared.model.registry import RegistryError


def manifest(name: str = "demo", seed: int = 0) -> Manifest:
    return Manifest(
        name=name,
        student="sasrec",
        max_length=50,
        n_items=10,
        created_at="2026-01-01T00:00:00Z",
        git_commit="0" * 40,
        recipe={"seed": seed},
        data_hash="d",
        protocol="held",
        metrics={"test": {"hr@10": 0.1}},
    )


def test_versions_count_up_and_a_second_publish_changes_nothing(engine: Engine) -> None:
    first = registry.publish(engine, manifest(seed=1), "/b/1")
    second = registry.publish(engine, manifest(seed=2), "/b/2")
    again = registry.publish(engine, manifest(seed=1), "/elsewhere")
    assert (first.version, second.version) == (1, 2)
    assert again == first
    assert [one.version for one in registry.list_published(engine)] == [2, 1]


def test_publishers_at_once_take_different_versions(engine: Engine) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda seed: registry.publish(engine, manifest(seed=seed), f"/b/{seed}"), range(12)))
    assert sorted(one.version for one in made) == list(range(1, 13))


def test_promote_and_rollback_walk_back_through_history(engine: Engine) -> None:
    one, two, three = (registry.publish(engine, manifest(seed=seed), f"/b/{seed}") for seed in range(3))
    for bundle in (one, two, three):
        registry.promote(engine, bundle.bundle_id)
    assert registry.resolve(engine).aliases == ("champion",)
    assert registry.rollback(engine).bundle_id == two.bundle_id
    assert registry.rollback(engine).bundle_id == one.bundle_id
    with pytest.raises(RegistryError, match="no earlier promotion to return to"):
        registry.rollback(engine)
    assert registry.resolve(engine).bundle_id == one.bundle_id


def test_promoting_the_current_bundle_adds_no_change(engine: Engine) -> None:
    one, two = (registry.publish(engine, manifest(seed=seed), f"/b/{seed}") for seed in range(2))
    for bundle in (one, two, two):
        registry.promote(engine, bundle.bundle_id)
    assert registry.rollback(engine).bundle_id == one.bundle_id


def test_a_bundle_answers_to_id_prefix_version_and_alias(engine: Engine) -> None:
    made = registry.publish(engine, manifest("my@name"), "/b")
    registry.promote(engine, made.bundle_id[:8], "challenger")
    for reference in (made.bundle_id, made.bundle_id[:6], "my@name@1", "challenger"):
        assert registry.resolve(engine, reference).uri == "/b"
    assert registry.aliases(engine) == {"challenger": made.bundle_id}


@pytest.mark.parametrize("reference", ["nobody", "demo@9", "%%%%", "____"])
def test_unknown_reference_is_reported(engine: Engine, reference: str) -> None:
    registry.publish(engine, manifest(), "/b")
    with pytest.raises(RegistryError, match="retort models"):
        registry.resolve(engine, reference)


def test_tenants_do_not_see_each_other(engine: Engine) -> None:
    made = registry.publish(engine, manifest(), "/b", tenant="a")
    registry.promote(engine, made.bundle_id, tenant="a")
    assert registry.list_published(engine, tenant="b") == []
    with pytest.raises(RegistryError):
        registry.resolve(engine, tenant="b")
    assert registry.publish(engine, manifest(), "/b", tenant="b").version == 1
