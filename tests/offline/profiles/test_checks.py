"""Reply checks: unusable replies are rejected."""

import pytest

from retort.offline.profiles.checks import CheckRules, StructuredProfile, check_reply, find_problem
from retort.offline.profiles.prompt import PromptWriter
from tests.offline.profiles._fakes import GOOD

RULES = CheckRules()
WRITER = PromptWriter("long", "movies")
SCHEMA = StructuredProfile.model_json_schema()
RUSSIAN = "Пользователь любит добрые комедии, мультфильмы и часто возвращается к старым сериям и мрачных драм избегает."


def test_profile_is_accepted_as_it_is() -> None:
    assert check_reply(f"\n{GOOD} ", RULES, WRITER.instructions, None) == (GOOD, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("  ", "empty"),
        ("Likes comedy.", "too short"),
        (GOOD * 100, "too long"),
        (
            "I'm sorry, but I cannot help with describing this person, for I lack the data.",
            "refusal",
        ),
        (
            "As an AI language model, the user's taste is not something I can know, so there is nothing to say.",
            "refusal",
        ),
        (f"<history> {GOOD}", "instructions"),
        (WRITER.instructions[:900], "instructions"),
        (RUSSIAN, "not in English"),
        (
            "Diese Person mag vor allem warme Komödien, schaut gerne Serien und meidet düstere Dramen.",
            "not in English",
        ),
        (
            "%%%% 0000 ---- 1111 **** 2222 ==== 3333 #### 4444 %%%% 5555 ---- 6666 ++++ 7777 **** 8888 ---- 99",
            "letters",
        ),
        ("the user likes comedy and " * 40, "repeats itself"),
    ],
)
def test_rubbish_is_named(text: str, problem: str) -> None:
    _, found = check_reply(text, RULES, WRITER.instructions, None)
    assert found is not None
    assert problem in found


def test_russian_text_where_russian_is_required() -> None:
    rules = CheckRules(language="ru")
    assert find_problem(RUSSIAN, rules) is None
    assert find_problem(GOOD, rules) == "not in Russian"
    assert find_problem(RUSSIAN, CheckRules(language="any")) is None


def test_words_of_refusal_inside_a_profile_are_no_refusal() -> None:
    assert find_problem(f"{GOOD} The heroes often say that I cannot go on, and go on.", RULES) is None


def test_structured_reply_becomes_sentences() -> None:
    said = StructuredProfile(
        likes=["warm comedies"], dislikes=[], habits=["returns to series"], recent=[], summary=GOOD
    )
    raw = f"```json\n{said.model_dump_json()}\n```"
    text, problem = check_reply(raw, RULES, "", SCHEMA)
    assert problem is None
    assert text == f"Likes: warm comedies.\nHabits: returns to series.\n{GOOD}"


@pytest.mark.parametrize(
    "raw", [GOOD, '{"likes": ["a"', '{"likes": "a", "dislikes": [], "habits": [], "recent": [], "summary": ""}']
)
def test_broken_json_is_refused(raw: str) -> None:
    _, problem = check_reply(raw, RULES, "", SCHEMA)
    assert problem is not None
    assert "JSON" in problem
