"""Description of a catalogue: tables, reports, refusals, batch files, and a plan before anything is spent."""

import json
from pathlib import Path
from typing import Any

import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.knowledge.batch_files import ItemRound, item_round
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.describe import describe_items, item_catalogue
from retort.offline.knowledge.new_items import describer
from retort.offline.knowledge.plan import measured_answer_tokens, plan_description
from retort.offline.knowledge.prompt import make_task
from retort.offline.knowledge.store import KnowledgeStore
from retort.shared.base.errors import KnowledgeError, RecipeError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.knowledge.item_knowledge import correct_knowledge
from tests.offline.knowledge._fakes import answer_all, config, records_of, shop, sqlite_store
from tests.offline.profiles._fakes import NO_SERVER
from tests.offline.profiles._server import Answer, completion, serving


@pytest.fixture
def store(tmp_path: Path) -> KnowledgeStore:
    return sqlite_store(tmp_path)


def _file(path: Path, texts: dict[str, str]) -> KnowledgeConfig:
    path.write_text("".join(json.dumps({"item_id": key, "knowledge": text}) + "\n" for key, text in texts.items()))
    return KnowledgeConfig.model_validate({"backend": "file", "path": path})


def _answer(_number: int, body: dict[str, Any]) -> Answer:
    return completion(answer_all(body["messages"]))


def _options(url: str) -> LanguageModelSettings:
    return LanguageModelSettings(_env_file=None, openai_base_url=url, openai_api_key=None)  # type: ignore[call-arg]


def test_a_server_describes_a_catalogue_and_the_report_says_how(store: KnowledgeStore) -> None:
    items = shop(30)
    spending = {"usd_per_million_input": 1.0, "usd_per_million_output": 2.0}
    with serving(_answer) as fake:
        recipe = config(canary=False, options={"model": "m"}, spending=spending)
        known, report = describe_items(items, recipe, store, _options(fake.url), Silent())
        n_requests = len(fake.bodies)
        describe_items(items, recipe, store, _options(fake.url), Silent())
        assert len(fake.bodies) == n_requests == 8
    assert (known.height, report.coverage, report.distinct) == (30, 1.0, 30)
    assert report.new_words > 5
    assert report.notes["own brands among rivals removed"] > 0
    assert report.unknown_rivals == 30
    assert "30 of 75 rivals are not in the catalogue" in report.line()
    assert report.cost_usd == pytest.approx((8 * 11 + 8 * 7 * 2) / 1e6)
    assert "30 of 30 items have a text (100.0%), 30 of them distinct" in report.line()


def test_one_new_item_is_described_by_the_server_although_the_recipe_requires_coverage(store: KnowledgeStore) -> None:
    def knows_nothing(_number: int, body: dict[str, Any]) -> Answer:
        entries = [{"id": record["id"], "type": "unknown"} for record in records_of(body["messages"])]
        return completion(json.dumps({"items": entries}))

    recipe = config(canary=False, options={"model": "m"}, min_coverage=1.0)
    with serving(_answer) as fake:
        texts = describer(store, _options(fake.url), Silent())(shop(1), recipe)
    assert texts["item_id"].to_list() == ["B0000"]
    with serving(knows_nothing) as fake:
        assert describer(store, _options(fake.url), Silent())(Items(shop(2).frame[1:]), recipe).height == 0


def test_everything_stored_needs_no_server(store: KnowledgeStore) -> None:
    items, recipe = shop(6), config(options={"model": "m", "retries": 0}, canary=False)
    with serving(_answer) as fake:
        describe_items(items, recipe, store, _options(fake.url), Silent())
    known, report = describe_items(items, recipe, store, NO_SERVER, Silent())
    assert (known.height, report.reused, report.written) == (6, 6, 0)


def test_errors_name_the_section_of_items(store: KnowledgeStore) -> None:
    with (
        serving(lambda number, body: (401, {"error": "no"}, {})) as fake,
        pytest.raises(KnowledgeError, match="API key"),
    ):
        describe_items(shop(3), config(options={"model": "m"}), store, _options(fake.url), Silent())
    with serving(_answer) as fake:
        fake.models = ["a", "b"]
        with pytest.raises(KnowledgeError, match=r"name one in \[knowledge.options\] model"):
            describe_items(shop(3), config(), store, _options(fake.url), Silent())
    with pytest.raises(RecipeError, match=r"\[knowledge\] attributes names 'colour'"):
        describe_items(shop(3), config(attributes=["colour"]), store, NO_SERVER, Silent())


def test_a_schema_that_the_server_ignores_is_noticed_before_thousands_of_requests(store: KnowledgeStore) -> None:
    with serving(lambda number, body: completion("Spring is mild.")) as fake:
        with pytest.raises(KnowledgeError, match=r"the schema is not enforced.*\[knowledge\] family = 'text'"):
            describe_items(shop(9), config(options={"model": "m"}), store, _options(fake.url), Silent())
        assert len(fake.bodies) == 1


def test_one_text_for_many_items_is_refused(store: KnowledgeStore, tmp_path: Path) -> None:
    items = shop(40)
    same = _file(tmp_path / "same.jsonl", dict.fromkeys(items.frame["item_id"], "a beauty product"))
    with pytest.raises(KnowledgeError, match="all 40 items have the same knowledge"):
        describe_items(items, same, store, NO_SERVER, Silent())
    few = _file(tmp_path / "few.jsonl", {name: f"product {at % 4}" for at, name in enumerate(items.frame["item_id"])})
    with pytest.raises(KnowledgeError, match=r"only 4 of 40 texts are different.*min_distinct = 0.2"):
        describe_items(items, few, store, NO_SERVER, Silent())


def test_too_low_a_coverage_is_refused(store: KnowledgeStore, tmp_path: Path) -> None:
    recipe = _file(tmp_path / "k.jsonl", {"B0000": "glitter polish"}).model_copy(update={"min_coverage": 0.5})
    with pytest.raises(KnowledgeError, match=r"33.3% of the items have a text.*requires 50.0%; lower it"):
        describe_items(shop(3), recipe, store, NO_SERVER, Silent())


def test_the_report_of_a_file_counts_restated_and_contradicting_texts(store: KnowledgeStore, tmp_path: Path) -> None:
    texts = {"B0000": "essie nail lacquer beauty", "B0001": "fizzing winter collection 1987", "B0002": "deep repair"}
    _, report = describe_items(shop(3), _file(tmp_path / "k.jsonl", texts), store, NO_SERVER, Silent())
    assert (report.restated, report.contradictions) == (1, 1)


def test_corrections_win_over_files_too(store: KnowledgeStore, tmp_path: Path) -> None:
    correct_knowledge(store._engine, "B0000", "hand made soap")
    correct_knowledge(store._engine, "B0001", None)
    texts = {"B0000": "glitter", "B0001": "bath", "B0002": "deep repair"}
    known, report = describe_items(shop(3), _file(tmp_path / "k.jsonl", texts), store, NO_SERVER, Silent())
    assert known.select("item_id", "knowledge", "source").rows() == [
        ("B0000", "hand made soap", "correction"),
        ("B0002", "deep repair", "k.jsonl"),
    ]
    assert report.corrected == 2


def _results(path: Path, found: ItemRound, forget: bool = False) -> Path:
    """What a batch service returns for the files of a round."""
    lines = []
    for file in found.files:
        for request in map(json.loads, file.read_text().splitlines()):
            reply = json.loads(answer_all(request["body"]["messages"]))
            kept = reply["items"][: -1 if forget else None]
            _, body, _ = completion(json.dumps({"items": kept}))
            lines.append(
                json.dumps({"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}})
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_batch_files_go_out_and_in_until_every_item_has_a_text(store: KnowledgeStore, tmp_path: Path) -> None:
    items, results = shop(20), list[Path]()

    def play(number: int) -> ItemRound:
        target = tmp_path / f"round{number}.jsonl"
        return item_round(items, config(), store, Silent(), model="m", results=results, target=target)

    first = play(1)
    assert (first.n_waiting, first.report.waiting, first.report.described) == (5, 20, 0)
    results.append(_results(tmp_path / "out1.jsonl", first, forget=True))
    second = play(2)
    assert (second.n_waiting, second.report.described) == (5, 15)  # one item of each request is asked about alone
    results.append(_results(tmp_path / "out2.jsonl", second))
    third = play(3)
    assert (third.n_waiting, third.report.coverage) == (0, 1.0)
    # the pipeline finds the texts, and calls no server
    known, _ = describe_items(items, config(options={"model": "m"}), store, NO_SERVER, Silent())
    assert known.height == 20


def test_results_of_another_recipe_are_refused(store: KnowledgeStore, tmp_path: Path) -> None:
    target = tmp_path / "round.jsonl"
    found = item_round(shop(4), config(words=40), store, Silent(), model="m", results=(), target=target)
    results = [_results(tmp_path / "out.jsonl", found)]
    with pytest.raises(KnowledgeError, match="belongs to a prompt of this recipe"):
        item_round(shop(4), config(), store, Silent(), model="m", results=results, target=target)


def test_a_plan_says_what_it_costs_by_items_a_call(store: KnowledgeStore) -> None:
    items = shop(100)
    recipe = config(
        spending={"usd_per_million_input": 1.0, "usd_per_million_cached_input": 0.1, "usd_per_million_output": 1.0}
    )
    catalogue = item_catalogue(items, recipe)
    facts = [(item_id, catalogue.facts(item_id)) for item_id in items.frame["item_id"]]
    tasks = [make_task(item_id, found) for item_id, found in facts if found is not None]
    alone, together = (plan_description(tasks, recipe, number) for number in (1, 10))
    assert (alone.calls, together.calls) == (100, 10)
    assert together.prompt_tokens < 0.3 * alone.prompt_tokens
    assert together.answer_tokens == alone.answer_tokens
    assert alone.usd is not None
    assert alone.usd_cached is not None
    assert alone.usd_cached < 0.5 * alone.usd
    assert "100 items in 10 requests of 10" in together.sentence()
    assert measured_answer_tokens(store._engine, recipe) is None
