"""A refit that is told its epochs needs no held training, and says so."""

from pathlib import Path

import pytest

from retort.offline.common.progress import Silent
from retort.offline.pipeline.build import make_pipeline, make_steps
from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import RecipeError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database

TINY = str(Path(__file__).parents[2] / "tiny.toml")
NOBODY = LanguageModelSettings(openai_base_url=None, openai_api_key=None)


def test_given_refit_epochs_skip_the_held_training() -> None:
    names = [step.name for step in make_steps(load_recipe(TINY), None, NOBODY)]
    told = make_steps(load_recipe(TINY, ["training.refit_epochs=3"]), None, NOBODY)
    assert set(names) - {step.name for step in told} == {"train"}
    for step in told:
        assert "train" not in step.needs
    assert load_recipe(TINY, ["training.refit_epochs=3"]).as_json()["training"]["refit_epochs"] == 3


def test_only_another_evaluation_repeats_the_held_training() -> None:
    def shaped(*changes: str) -> dict[str, object]:
        return {step.name: step.config for step in make_steps(load_recipe(TINY, list(changes)), None, NOBODY)}

    usual, shown = shaped(), shaped("evaluation.hide_seen=false")
    assert set(usual["train"]) <= {"student", "training", "objectives", "teacher"}, "as before: earlier work is found"
    assert shown["train"] == {**usual["train"], "hide_seen": False}
    assert {name for name in usual if usual[name] != shown[name]} == {"train", "evaluate", "seal"}
    assert shaped("evaluation.last_items=3")["train"] == {**usual["train"], "last_items": 3}


def test_refit_epochs_without_a_refit_are_refused() -> None:
    with pytest.raises(RecipeError, match="refit_epochs"):
        load_recipe(TINY, ["protocol=held", "training.refit_epochs=3"])


def test_validation_is_reported_at_the_configured_list_lengths(tmp_path: Path) -> None:
    """Another list length trains nothing anew, and must not leave the former one's numbers in the bundle."""
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    told = {}
    for k in (10, 3):
        recipe = load_recipe(TINY, ["objectives=[]", "training.epochs=1", f"evaluation.k=[{k}]"])
        told[k] = run_pipeline(
            make_pipeline(RunContext(recipe, None, engine, NOBODY, Silent()), tmp_path / "runs")
        ).validation
    engine.dispose()
    assert set(told[10]) == {"hr@10", "ndcg@10", "mrr@10"}
    assert set(told[3]) == {"hr@3", "ndcg@3", "mrr@3"}
    assert len(list((tmp_path / "runs" / "steps").glob("train-*.lock"))) == 1


def test_two_equal_runs_have_equal_outputs_and_bundle_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they took, and whenever they ran."""
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    recipe = load_recipe(TINY, ["objectives=[]", "training.epochs=2"])
    found = []
    for out in ("first", "second"):
        started = iter(range(1_000_000)) if out == "first" else iter(range(0, 10_000_000, 7))
        monkeypatch.setattr("retort.offline.training.loop.time.perf_counter", lambda clock=started: float(next(clock)))
        context = RunContext(recipe, None, engine, NOBODY, Silent())
        bundle = run_pipeline(make_pipeline(context, tmp_path / out)).bundle
        steps = sorted(path.name for path in (tmp_path / out / "steps").iterdir() if path.is_dir())
        found.append((steps, bundle.name))

    engine.dispose()
    assert found[0] == found[1]
