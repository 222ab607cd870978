"""Replies about several items: each answer goes to the item whose id it has, and to no other."""

import json
from typing import Any

import pytest

from retort.offline.knowledge.prompt import ItemPromptWriter, make_task
from retort.offline.knowledge.replies import read_reply
from retort.offline.profiles.item_facts import Facts
from tests.offline.knowledge._fakes import config

TASKS = [make_task(name, Facts(name, {}, "")) for name in ("a1", "b2", "c3")]
JSON = ItemPromptWriter.of(config(fields=["type", "rivals"]))
TEXT = ItemPromptWriter.of(config(family="text"))


def _reply(*entries: dict[str, Any]) -> str:
    return json.dumps({"items": entries})


def test_answers_are_matched_by_id_in_any_order() -> None:
    raw = _reply({"id": "c3", "type": "soap", "rivals": ["X", "X"]}, {"id": "a1", "type": "towel", "rivals": []})
    answers, problem = read_reply(raw, TASKS, JSON)
    assert problem is None
    assert {name: answer.text for name, answer in answers.items()} == {"c3": "soap, X", "a1": "towel"}


def test_an_id_that_is_answered_twice_is_nobodys() -> None:
    raw = _reply({"id": "a1", "type": "soap"}, {"id": "a1", "type": "towel"}, {"id": "b2", "type": "mask"})
    assert list(read_reply(raw, TASKS, JSON)[0]) == ["b2"]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("no json", "not the requested JSON"),
        ("", "empty"),
        (_reply({"id": "z9", "type": "soap"}), "no answer has the id of a record"),
        ('{"items": "soap"}', "not the requested JSON"),
        ("<think>which soap", "ends within the model's thoughts"),
        ("[" * 5000, "not the requested JSON"),
    ],
)
def test_a_reply_without_answers_says_why(raw: str, problem: str) -> None:
    answers, found = read_reply(raw, TASKS, JSON)
    assert not answers
    assert str(found).startswith(problem)


def test_fences_thoughts_bare_lists_and_other_types_are_read() -> None:
    fenced = f"<think>hm</think>```json\n{_reply({'id': 'a1', 'type': 7, 'rivals': 'X'})}\n```"
    assert read_reply(fenced, TASKS, JSON)[0]["a1"].text == "7, X"
    assert read_reply('[{"id": "a1", "type": "soap", "rivals": [null, {"x": 1}]}]', TASKS, JSON)[0]["a1"].text == "soap"
    assert read_reply('{"type": "soap"}', TASKS[:1], JSON)[0]["a1"].text == "soap"


def test_unknown_is_an_answer_without_text() -> None:
    raw = _reply({"id": "a1", "type": "Unknown", "rivals": ["unknown", "N/A"]})
    assert read_reply(raw, TASKS, JSON)[0]["a1"].text == ""


def test_lists_and_phrases_are_bounded() -> None:
    raw = _reply({"id": "a1", "type": "x" * 500, "rivals": [str(n) for n in range(50)]})
    answer = read_reply(raw, TASKS, JSON)[0]["a1"]
    assert (len(answer.fields["type"][0]), len(answer.fields["rivals"])) == (120, 3)


def test_lines_of_the_text_family() -> None:
    raw = "a1 | hair mask, deep repair\n- b2 | unknown\n`c3` | soap; gift\nthat is all"
    answers, _ = read_reply(raw, TASKS, TEXT)
    assert {name: answer.text for name, answer in answers.items()} == {
        "a1": "hair mask, deep repair",
        "b2": "",
        "c3": "soap, gift",
    }
    assert read_reply("hair mask, deep repair", TASKS[:1], TEXT)[0]["a1"].text == "hair mask, deep repair"
