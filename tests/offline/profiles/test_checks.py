"""Reply checks: unusable replies are rejected."""

import time

import pytest

from retort.offline.profiles.checks import CheckRules, StructuredProfile, check_reply, find_problem
from retort.offline.profiles.privacy_checks import find_leak
from retort.offline.profiles.prompt import PromptWriter
from retort.offline.profiles.refusals import is_refusal
from retort.offline.profiles.thoughts import cut_thoughts, has_tags
from tests.offline.profiles._fakes import CHECKER, GOOD, HORROR_AND_WAR

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


@pytest.mark.parametrize(
    "raw",
    [
        f"<think>The user likes comedies.</think>\n\n{GOOD}",
        f"The user seems to like comedies. I will write that.\n</think>\n{GOOD}",
        f"<think>a <think>b</think> c</think>{GOOD}",
        f"<thinking>hm</thinking>{GOOD}<think>was it right?</think>",
        f"[THINK]hm[/THINK]{GOOD}",
        f"◁think▷hm◁/think▷{GOOD}",
        f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}<|return|>",
        f"{GOOD}<|im_end|></s>",
        f"<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>{GOOD}<|END_RESPONSE|>",
        f"<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>{GOOD}<|end_of_solution|>",
        f"<unused94>thought hm<unused95>{GOOD}",
        f"<|channel>thought hm<channel|>{GOOD}",
        f"<inner_monologue>hm</inner_monologue>{GOOD}",
        f"<思考>hm</思考>{GOOD}",
        f"<reasoning>hm</reasoning><answer>{GOOD}</answer>",
        f"<start_of_turn>model\n{GOOD}<end_of_turn>",
        f"Sure! Here is the profile of this user:\n\n{GOOD}",
        f"**Profile:** {GOOD}",
    ],
)
def test_thoughts_of_a_reasoning_model_are_cut(raw: str) -> None:
    assert check_reply(raw, CheckRules(), "", None) == (GOOD, None)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (f"<think>{GOOD}", "ends within the model's thoughts"),
        ("<think>x</think>", "empty"),
        (f"Okay, so I need to write a profile. {GOOD}", "thinks aloud"),
        (f"{GOOD} <|im_start|>user {GOOD}", "tokens of the chat template"),
        (f"<musings>x</musings>{GOOD}", "contains tags"),
        (f"&lt;think&gt;x&lt;/think&gt;{GOOD}", "contains tags"),
        (f"**Thinking:** many comedies.\n\n**Answer:** {GOOD}", "thinks aloud"),
        (f"First, I need to look at the history. {GOOD}", "thinks aloud"),
        (f"analysisWe need to write.assistantfinal{GOOD}", "thinks aloud"),
        (f"{GOOD}\n\nWait, I should double-check the counts.", "thinks aloud"),
        (f"Хорошо, мне нужно написать профиль. {GOOD}", "thinks aloud"),
    ],
)
def test_thoughts_without_an_answer_are_refused(raw: str, problem: str) -> None:
    found = check_reply(raw, CheckRules(), "", None)[1]
    assert found is not None
    assert problem in found


@pytest.mark.parametrize(
    "opening",
    [
        "Unfortunately, I must decline.",
        "I must respectfully decline to write this.",
        "I'm afraid that is not something for me.",
        "It is not possible to create a profile of this person.",
        "This request goes against my guidelines.",
        "There is not enough information to say what they like.",
        "К сожалению, ничего нельзя сказать.",
        "I'm not going to write about this person.",
        "I don't feel comfortable creating this.",
        "I would rather not describe this user.",
        "As a responsible AI, I keep to the facts.",
        "There isn't enough data to describe the user.",
        "I need more information.",
        "Could you please share the history?",
        "It seems that you have not given a history.",
        "No history provided.",
        "Due to privacy concerns, I keep this short.",
        "Es tut mir leid, aber das geht nicht.",
        "Desculpe, não posso ajudar.",
        "对不起，我无法完成。",
        "Przepraszam, ale nie mogę.",
    ],
)
def test_refusals_in_other_words_are_refused(opening: str) -> None:
    assert check_reply(f"{opening} {GOOD}", CheckRules(language="any"), "", None)[1] == "a refusal"


@pytest.mark.parametrize(
    "opening",
    [
        "The user would decline horror and refuse slow films.",
        "The user can't get enough of comedies.",
        "Sorry endings and grim dramas draw this user.",
        "The history shows no data for horror.",
    ],
)
def test_tastes_in_words_of_refusals_are_no_refusal(opening: str) -> None:
    assert check_reply(f"{opening} {GOOD}", CheckRules(), "", None)[1] is None


@pytest.mark.parametrize(
    "text", [" " * 40_000 + "x", "\n" * 20_000 + "x", "<think>" * 6_000, "a" * 60_000, "horror, " * 1_500]
)
def test_no_reply_keeps_the_checks_busy(text: str) -> None:
    """Weak models fill a reply with blanks, tags or one word; each of these took up to minutes."""
    started_s = time.process_time()
    cut_thoughts(text)
    is_refusal(text)
    has_tags(text)
    find_leak(text, "u", [])
    CHECKER.liked_facets(text, HORROR_AND_WAR)
    assert time.process_time() - started_s < 5


def test_loops_with_a_changed_word_are_refused() -> None:
    nouns = ["comedy", "drama", "action", "horror", "war", "crime", "noir", "music", "sport", "space", "love", "magic"]
    for loop in ("The user is drawn to {} and to the people in it.", "They really enjoy good {}."):
        text = " ".join(loop.format(noun) for noun in nouns)
        assert check_reply(text, CheckRules(), "", None)[1] == "repeats itself", loop
    assert check_reply(" ".join(["the user likes", *["warm and funny stories of"] * 12]), CheckRules(), "", None)[1]


def test_lists_of_the_schema_are_bounded_and_longer_ones_are_cut() -> None:
    assert {SCHEMA["properties"][name]["maxItems"] for name in ("likes", "dislikes", "habits", "recent")} == {12}
    raw = StructuredProfile.model_construct(
        likes=[f"films of kind {n}" for n in range(40)], dislikes=[], habits=[], recent=[], summary=GOOD
    ).model_dump_json()
    text, problem = check_reply(raw, CheckRules(), "", SCHEMA)
    assert problem is None
    assert "kind 11;" not in text
    assert "kind 11." in text


def test_a_phrase_cannot_be_liked_and_disliked() -> None:
    for dislike in ("war films.", "the war film", "War movies"):
        profile = StructuredProfile(likes=["War films"], dislikes=[dislike], habits=[], recent=[], summary=GOOD)
        problem = check_reply(profile.model_dump_json(), CheckRules(), "", SCHEMA)[1]
        assert problem == "likes and dislikes the same (war films)", dislike
    profile = StructuredProfile(likes=["War films"], dislikes=["old war films"], habits=[], recent=[], summary=GOOD)
    assert check_reply(profile.model_dump_json(), CheckRules(), "", SCHEMA)[1] is None


def test_strings_of_the_schema_are_bounded_and_longer_ones_are_cut() -> None:
    assert SCHEMA["properties"]["likes"]["items"]["maxLength"] == 160
    assert SCHEMA["properties"]["summary"]["maxLength"] == 1200
    raw = StructuredProfile.model_construct(
        likes=["words of films " * 40], dislikes=["x" * 500], habits=[], recent=[], summary=GOOD
    ).model_dump_json()
    profile = StructuredProfile.model_validate_json(raw)
    assert len(profile.likes[0]) <= 160
    assert profile.likes[0].split()[-1] in ("words", "of", "films"), "cut at a word"
    assert profile.dislikes == ["x" * 160]
