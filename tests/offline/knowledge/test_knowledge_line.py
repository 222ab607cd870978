"""Item knowledge through the pipeline: its step, what reads it, and what its cache keys contain."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from retort.offline.common.progress import Silent
from retort.offline.pipeline.build import make_pipeline, make_steps
from retort.offline.pipeline.context import RunContext, load_items
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.preflight import check_needs
from retort.offline.recipes.recipe import parse_recipe
from retort.shared.base.errors import KnowledgeError, RecipeError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database

NO_MODEL = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)  # type: ignore[call-arg]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    rows = [f"u{user},{item},{time}" for user in range(4) for time, item in enumerate((1, 2, 3, 4), start=1)]
    (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    (data / "items.csv").write_text("item_id,title\n1,Lacquer\n2,Bath bomb\n3,Towel\n4,Soap\n")
    (data / "knowledge.jsonl").write_text(
        '{"item_id": "1", "knowledge": "glitter nail polish"}\n{"item_id": 3, "knowledge": "exfoliating nylon"}\n'
    )
    return data


def _raw(**sections: Any) -> dict[str, Any]:
    data = {"source": "table", "options": {"items": "items.csv", "position": "timestamp"}}
    return {"data": data, "knowledge": {"backend": "file", "path": "knowledge.jsonl"}, **sections}


def _engine(out: Path) -> Engine:
    url = f"sqlite:///{out}.db"
    upgrade(url)
    return open_database(url)


def _pipeline(raw: dict[str, Any], shop: Path, out: Path) -> Pipeline[RunContext]:
    recipe = parse_recipe("shop", raw)
    return make_pipeline(RunContext(recipe, shop, _engine(out), NO_MODEL, Silent()), out)


def test_items_have_the_texts_of_the_file_and_the_data_step_does_not(shop: Path, tmp_path: Path) -> None:
    items = load_items(_pipeline(_raw(), shop, tmp_path / "out"))
    assert items.knowledge.to_list() == ["glitter nail polish", None, "exfoliating nylon", None]
    assert items.frame["text"].to_list() == ["Lacquer", "Bath bomb", "Towel", "Soap"]
    plain = load_items(_pipeline(_raw(knowledge={}), shop, tmp_path / "out"))
    assert "knowledge" not in plain.frame.columns
    assert plain.knowledge.to_list() == [None] * 4


def test_a_text_template_may_name_knowledge(shop: Path, tmp_path: Path) -> None:
    raw = _raw()
    raw["data"]["text_template"] = "{title}: {knowledge}"
    items = load_items(_pipeline(raw, shop, tmp_path / "out"))
    assert items.frame["text"].to_list() == [
        "Lacquer: glitter nail polish",
        "Bath bomb:",
        "Towel: exfoliating nylon",
        "Soap:",
    ]
    raw["knowledge"] = {}
    with pytest.raises(RecipeError, match=r"names knowledge, which the items do not have; add \[knowledge\]"):
        load_items(_pipeline(raw, shop, tmp_path / "out"))


def test_another_file_is_read_again_and_the_data_and_split_are_not_changed(shop: Path, tmp_path: Path) -> None:
    before = _pipeline(_raw(), shop, tmp_path / "out")
    split, knowledge = before.ensure("split"), before.ensure("knowledge")
    (shop / "knowledge.jsonl").write_text('{"item_id": "1", "knowledge": "glitter"}\n')
    after = _pipeline(_raw(), shop, tmp_path / "out")
    assert after.ensure("split").output == split.output
    assert after.ensure("knowledge").path != knowledge.path
    assert load_items(after).knowledge.to_list() == ["glitter", None, None, None]


def test_a_missing_file_or_domain_is_noticed_before_anything_runs(shop: Path, tmp_path: Path) -> None:
    (shop / "knowledge.jsonl").unlink()
    with pytest.raises(KnowledgeError, match=r"no file .*knowledge\.jsonl of item knowledge; correct"):
        check_needs([_pipeline(_raw(), shop, tmp_path / "out")])
    with pytest.raises(RecipeError, match=r"domain = 'cars'; choose one of"):
        check_needs([_pipeline(_raw(knowledge={"backend": "template", "domain": "cars"}), shop, tmp_path / "out")])
    check_needs([_pipeline(_raw(knowledge={"backend": "template"}), shop, tmp_path / "out")])


def test_every_step_that_reads_items_needs_the_knowledge(shop: Path) -> None:
    objectives = [{"name": "profile", "weight": 1.0}, {"name": "text_start"}]
    recipe = parse_recipe("shop", _raw(objectives=objectives, teacher={"items": "encoded"}))
    needs = {step.name: step.needs for step in make_steps(recipe, shop, NO_MODEL)}
    assert {name for name, needed in needs.items() if "knowledge" in needed} >= {"items", "profiles"}
    assert "knowledge" not in needs["split"]


def test_an_items_column_of_this_name_is_knowledge_and_no_attribute(shop: Path, tmp_path: Path) -> None:
    (shop / "items.csv").write_text("item_id,title,knowledge,brand\n1,Lacquer,own text,x\n2,Bath bomb,own,y\n")
    items = load_items(_pipeline(_raw(), shop, tmp_path / "out"))
    assert items.attributes == ["brand"]
    assert items.knowledge.to_list() == ["glitter nail polish", "own", "exfoliating nylon", None]
    assert items.frame["text"].to_list()[:2] == ["Lacquer. brand: x", "Bath bomb. brand: y"]
