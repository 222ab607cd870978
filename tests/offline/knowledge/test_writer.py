"""The writer: several items a request, leftovers alone, checks, corrections, resumption, and only what has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retort.offline.data.interactions import Items
from retort.offline.knowledge.describe import item_catalogue, stored_texts
from retort.offline.knowledge.prompt import make_task
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.knowledge.writer import ItemWriter
from retort.offline.profiles.backends._base import Reply
from retort.offline.profiles.backends.template import Config, TemplateBackend
from retort.offline.profiles.item_facts import Facts
from retort.offline.profiles.token_budget import BudgetSpentError
from retort.shared.base.errors import ProfileError
from retort.shared.knowledge.item_knowledge import correct_knowledge, release_knowledge, view_knowledge
from tests.offline.knowledge._fakes import answer_all, config, entry, records_of, shop, sqlite_store, writer
from tests.offline.profiles._fakes import ScriptedBackend

Script = Callable[[list[dict[str, Any]]], str]


@pytest.fixture
def store(tmp_path: Path) -> KnowledgeStore:
    return sqlite_store(tmp_path)


def _scripted(script: Script) -> ScriptedBackend:
    return ScriptedBackend(lambda prompt: script(records_of(prompt.messages)))


def _all(records: list[dict[str, Any]]) -> str:
    return json.dumps({"items": [entry(record) for record in records]})


def _sizes(backend: ScriptedBackend) -> list[int]:
    return sorted(len(prompt.parts) for prompt in backend.asked)


def _write(items: Items, store: KnowledgeStore, model: Any, **keys: Any) -> ItemWriter:
    wrote = writer(items, config(**keys), store, model)
    wrote.write_chunk(items.frame["item_id"].to_list())
    return wrote


def _texts(items: Items, store: KnowledgeStore, wrote: ItemWriter) -> pl.DataFrame:
    return stored_texts(items.frame["item_id"].to_list(), item_catalogue(items, wrote.config), store, wrote.key)


def test_items_are_asked_about_together_and_stored_one_by_one(store: KnowledgeStore) -> None:
    items, backend = shop(10), _scripted(_all)
    wrote = _write(items, store, backend)
    assert _sizes(backend) == [2, 4, 4]
    assert (wrote.report.written, wrote.report.failed) == (10, 0)
    table = _texts(items, store, wrote)
    assert table.height == 10
    assert table["knowledge"][1].startswith("nail treatment, ") is False
    assert table["source"].unique().to_list() == ["scripted"]
    assert json.loads(table["fields"][0])["goes_with"] == ["base coat"]
    assert wrote.report.prompt_tokens == 30  # 3 requests of 10


def test_an_item_that_a_reply_leaves_out_is_asked_about_alone(store: KnowledgeStore) -> None:
    def forgetful(records: list[dict[str, Any]]) -> str:
        return _all(records[:-1] if len(records) > 1 else records)

    items, backend = shop(8), _scripted(forgetful)
    wrote = _write(items, store, backend)
    assert _sizes(backend) == [1, 1, 4, 4]
    assert (wrote.report.written, wrote.report.failed) == (8, 0)


def test_answers_under_the_id_of_another_item_are_asked_again_alone(store: KnowledgeStore) -> None:
    def shifted(records: list[dict[str, Any]]) -> str:
        entries = [entry(record, properties=record["title"].split()) for record in records]
        ids = [record["id"] for record in records]
        return json.dumps({"items": [{**each, "id": ids[at - 1]} for at, each in enumerate(entries)]})

    rows = [
        {"item_id": f"i{n}", "title": title, "text": ""} for n, title in enumerate(["Lavender Bomb", "Velvet Towel"])
    ]
    items, backend = Items(pl.DataFrame(rows)), _scripted(shifted)
    wrote = _write(items, store, backend, checks={"refuse_restated": False})
    assert _sizes(backend) == [1, 1, 2]
    assert wrote.report.written == 2
    assert "Velvet" in _texts(items, store, wrote)["knowledge"][1]


def test_unknown_is_stored_as_an_answer_and_not_asked_again(store: KnowledgeStore) -> None:
    def knows_little(records: list[dict[str, Any]]) -> str:
        nothing = dict.fromkeys(("type", "properties", "need", "segment", "rivals", "goes_with", "next"), "unknown")
        return json.dumps(
            {"items": [entry(record, **(nothing if record["id"] < "B0002" else {})) for record in records]}
        )

    items = shop(4)
    wrote = _write(items, store, _scripted(knows_little))
    assert (wrote.report.written, wrote.notes["unknown"]) == (4, 2)
    assert _texts(items, store, wrote)["item_id"].to_list() == ["B0002", "B0003"]
    again = ScriptedBackend(lambda _: Reply("", error="nobody may be asked"))
    wrote = _write(items, store, again)
    assert (wrote.report.reused, wrote.notes["unknown"], again.asked) == (4, 2, [])


def test_a_refused_answer_is_asked_again_and_kept_for_people_to_read(store: KnowledgeStore, tmp_path: Path) -> None:
    items = shop(2)
    backend = _scripted(lambda records: "I cannot do that")
    wrote = _write(items, store, backend, attempts=2, max_failed=1.0)
    assert _sizes(backend) == [1, 1, 1, 1, 2]
    assert wrote.report.problems == {"not the requested JSON": 2}
    view = view_knowledge(store._engine, "B0000")
    assert view.text is None
    assert view.refusals[0].reply == "I cannot do that"
    good = _scripted(_all)
    assert _write(items, store, good).report.written == 2
    assert _sizes(good) == [1, 1]  # what failed together is asked about alone


def test_failures_of_the_server_are_not_stored(store: KnowledgeStore) -> None:
    items = shop(4)
    away = ScriptedBackend(lambda _: Reply("", error="no answer", final=True, unanswered=True))
    wrote = _write(items, store, away, max_failed=1.0)
    assert wrote.report.unanswered == {"no answer": 4}
    backend = _scripted(_all)
    _write(items, store, backend)
    assert _sizes(backend) == [4]


def test_too_many_failures_stop_the_run_with_the_reason(store: KnowledgeStore) -> None:
    with pytest.raises(ProfileError, match=r"no usable item text in .* not the requested JSON"):
        _write(shop(40), store, _scripted(lambda _: "no"), attempts=1)


def test_a_useless_model_is_stopped_before_all_items_are_sent_alone(store: KnowledgeStore) -> None:
    backend = _scripted(lambda _: "no")
    with pytest.raises(ProfileError, match="not the requested JSON"):
        _write(shop(400), store, backend, attempts=2)
    assert len(backend.asked) <= 100 + 32 * 2


def test_an_item_of_which_nothing_is_known_is_not_sent(store: KnowledgeStore) -> None:
    blank = dict.fromkeys(("brand", "category", "year")) | {"title": "", "text": ""}
    frame = shop(3).frame
    items = Items(pl.concat([frame, pl.DataFrame([{"item_id": "B9999", **blank}], schema=frame.schema)]))
    wrote = _write(items, store, _scripted(_all))
    assert wrote.report.written == 3
    assert "B9999" not in _texts(items, store, wrote)["item_id"]


def test_a_model_that_writes_the_same_about_all_items_is_stopped_early(store: KnowledgeStore) -> None:
    def same(records: list[dict[str, Any]]) -> str:
        return json.dumps({"items": [entry(record, type="lacquer", properties="glossy") for record in records]})

    backend = _scripted(same)
    with pytest.raises(ProfileError, match=r"of 200 texts of scripted are different .*min_distinct"):
        _write(shop(400), store, backend)
    assert len(backend.asked) == 50


def test_only_new_and_changed_items_are_written_again(store: KnowledgeStore) -> None:
    items = shop(8)
    _write(items, store, _scripted(_all))
    changed = Items(
        items.frame.with_columns(
            pl.when(pl.col("item_id") == "B0003").then(pl.lit("Essie Other Towel")).otherwise("title").alias("title")
        )
    )
    backend = _scripted(_all)
    wrote = _write(changed, store, backend)
    assert [prompt.parts for prompt in backend.asked] == [("B0003",)]
    assert wrote.report.reused == 7
    assert _texts(changed, store, wrote).height == 8


def test_a_correction_wins_and_survives_rewrites(store: KnowledgeStore) -> None:
    items, engine = shop(4), store._engine
    correct_knowledge(engine, "B0001", "hand made soap", set_by="me")
    correct_knowledge(engine, "B0002", None)
    backend = _scripted(_all)
    wrote = _write(items, store, backend)
    assert {item_id for prompt in backend.asked for item_id in prompt.parts} == {"B0000", "B0003"}
    assert wrote.report.chosen == 2
    assert view_knowledge(engine, "B0001").text == "hand made soap"
    assert view_knowledge(engine, "B0002").text is None
    assert release_knowledge(engine, "B0002")
    assert not release_knowledge(engine, "B0002")


def test_the_budget_stops_the_run_and_a_rerun_writes_the_rest(store: KnowledgeStore) -> None:
    items = shop(12)
    with pytest.raises(BudgetSpentError, match="are kept"):
        _write(items, store, _scripted(_all), spending={"max_tokens": 20})
    backend = _scripted(_all)
    wrote = _write(items, store, backend)
    assert wrote.report.reused + wrote.report.written == 12
    assert 0 < wrote.report.reused < 12


def test_a_group_that_does_not_fit_into_the_context_is_halved(store: KnowledgeStore) -> None:
    prompts = writer(shop(4), config(), store, _scripted(_all)).prompts
    tasks = [make_task(f"B{n}", Facts(f"Essie Wonder{n} Towel", {"brand": "Essie"}, "")) for n in range(2)]
    of_two = ScriptedBackend(lambda _: "").count_tokens(prompts.write(tasks).messages)
    limit = of_two + config().sampling.max_output_tokens + 4
    backend = ScriptedBackend(lambda asked: answer_all(asked.messages), context_tokens=limit)
    wrote = _write(shop(4), store, backend)
    assert wrote.report.written == 4
    assert max(_sizes(backend)) < 4


def test_a_single_item_that_does_not_fit_fails_with_the_remedy(store: KnowledgeStore) -> None:
    backend = ScriptedBackend(lambda asked: answer_all(asked.messages), context_tokens=64)
    wrote = _write(shop(1), store, backend, max_failed=1.0)
    assert "lower [knowledge] item_text_chars" in next(iter(wrote.report.examples.values()))
    assert not backend.asked


def test_the_template_backend_states_facts_only_and_says_so(store: KnowledgeStore) -> None:
    items = shop(4)
    for family in ("json", "text"):
        wrote = _write(items, store, TemplateBackend(Config()), backend="template", family=family)
        table = _texts(items, store, wrote)
        assert table.height == 4
        assert "no language model" in table["source"][0]
        assert table["knowledge"][1] == "Bath Bomb, OPI, Beauty, 2000s"
