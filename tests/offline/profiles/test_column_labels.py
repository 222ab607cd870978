"""Columns that are called like words of taste: a label of values in one place, a word against something in another."""

import pytest

from retort.offline.profiles.backends._history_statistics import describe
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Event
from retort.offline.profiles.item_facts import Facts, column_words
from retort.offline.profiles.vocabulary import read_vocabulary

HISTORY = [
    Event(
        Facts(
            f"Film {n}",
            {
                "Dislikes": "dairy",
                "disliked_by": "critics",
                "Liked By": "teens",
                "cons": "heavy",
                "notFor": "toddlers",
                "genres": ["Horror" if n % 2 else "Comedy"],
                "year": 1994,
            },
        )
    )
    for n in range(10)
]
CHECKER = FaithfulnessChecker(read_vocabulary(event.facts for event in HISTORY))


def verdicts(text: str) -> dict[str, str]:
    return {claim.text.lower(): claim.verdict for claim in CHECKER.check(text, HISTORY).claims}


@pytest.mark.parametrize(
    "text",
    [
        "Dislikes: dairy (100%).",
        "Likes: genres: Horror (50%); Dislikes: dairy (100%).",
        "disliked_by: critics, genres: Horror",
        "Disliked By: critics; genres: Horror, year: 1990s",
        "disliked_by: critics\ngenres: Horror",
        "genres: Horror, disliked_by: critics",
        "Horror (disliked_by: critics)",
        "Horror (dislikes: 3)",
        "Films disliked by the critics.",
        "Cons: heavy; not for: toddlers; liked_by: teens; genres: Comedy",
        "## disliked_by\n- critics",
    ],
)
def test_the_column_of_a_value_is_no_taste(text: str) -> None:
    assert set(verdicts(text).values()) == {"supported"}


@pytest.mark.parametrize(
    "text",
    [
        "Dislikes: Horror; Comedy.",
        "Dislikes: genres: Horror (50%).",
        "They avoid the genres: Horror.",
        "## Dislikes\n- Horror",
        "The user dislikes dairy.",
        "Dislikes: rated below this person's average: dairy.",
        "Horror (disliked)",
        "Horror: avoided",
        "Horror is avoided: too dark.",
    ],
)
def test_a_word_of_taste_stays_one_in_a_catalogue_with_a_column_of_this_name(text: str) -> None:
    assert set(verdicts(text).values()) == {"contradicted"}, "the user chose it most"


def test_a_value_of_two_columns_stays_disliked_under_a_word_of_taste() -> None:
    facts = Facts("Film", {"Dislikes": "horror", "genres": ["Horror"]})
    checker = FaithfulnessChecker(read_vocabulary([facts] * 2))
    assert checker.check("Dislikes: horror.", [Event(facts)]).of("contradicted") == ["horror"]


def test_values_that_speak_against_something_are_named_with_their_column_alone() -> None:
    phrases = describe(HISTORY, 5)
    assert "cons: heavy (100%)" in phrases.likes
    elsewhere = " ".join([*phrases.recent, *phrases.habits, phrases.summary])
    assert "teens" in elsewhere
    assert not any(value in elsewhere for value in ("heavy", "dairy", "critics", "toddlers"))
    themes = {value for _, value in CHECKER.liked_facets("\n".join([*phrases.likes, phrases.summary]), HISTORY)}
    assert themes == {"Horror", "Comedy", "teens", "1990s"}


def test_a_name_is_recognised_in_every_spelling() -> None:
    assert {column_words(name) for name in ("disliked_by", "dislikedBy", "Disliked By", "disliked-by")} == {
        "disliked by"
    }
