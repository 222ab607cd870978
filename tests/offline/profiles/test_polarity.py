"""Texts that speak against a category, in many wordings, never make it a theme; emphasis does not either way."""

import pytest

from tests.offline.profiles._fakes import CHECKER, HORROR_AND_WAR


def liked(text: str) -> set[str]:
    return {value for _, value in CHECKER.liked_facets(text, HORROR_AND_WAR)}


@pytest.mark.parametrize(
    "text",
    [
        # before the mention
        "No horror for this user.",
        "The user is less inclined towards horror.",
        "A preference against horror shows.",
        "They loathe horror.",
        "They can't stand horror.",
        "Everything except horror.",
        "Everything but horror.",
        "Anything other than horror.",
        "With the exception of horror.",
        "Low interest in horror.",
        "Tired of horror.",
        "Least favourite: horror",
        "Gives horror low ratings.",
        "Rated below this person's average: horror.",
        "Избегает horror.",
        "Wenig Interesse an horror.",
        # after the mention
        "Horror is avoided.",
        "Horror films are disliked by this user.",
        "Horror, which they dislike.",
        "Horror (disliked).",
        "Horror and war are not for them.",
        "Horror and war do not appeal to the user.",
        "Horror isn't their thing.",
        "Horror leaves them cold.",
        "Horror was rated below average.",
        "Horror: avoided",
    ],
)
def test_a_negated_category_is_no_theme(text: str) -> None:
    assert liked(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "Comedy over horror.",
        "They prefer comedy to horror.",
        "They prefer light comedies over loud war films.",
        "They avoid horror and love comedy.",
        "Comedy, not horror.",
        "## Likes\ncomedy\n## Dislikes\nhorror, war",
        "Likes:\n\ncomedy\n\nDislikes:\n\nhorror\nwar",
        "Likes: comedy\n- Dislikes: tense films\n  - horror\n  - war",
        "**Likes** comedy\n**Dislikes** horror, war",
        "Likes — comedy\nDislikes (strongest first): horror; war",
        "Dislikes include horror; war.\nEnjoys comedy.",
        "**Dislikes:**\n- horror\n\nEnjoys comedy.",
        # emphasis is no negation
        "Not only comedy counts.",
        "Never misses a comedy.",
        "Can't get enough of comedy.",
        "Enjoys nothing more than comedy.",
        "Doesn't just like comedy.",
        "Prefers a mature approach to comedy.",
        "Likes comedies that avoid dark humour.",
    ],
)
def test_the_liked_category_is_the_only_theme(text: str) -> None:
    assert liked(text) == {"Comedy"}


def test_a_disliked_category_that_the_user_chose_most_is_contradicted() -> None:
    assert CHECKER.check("Comedy is mostly avoided.", HORROR_AND_WAR).of("contradicted") == ["Comedy"]
    assert CHECKER.check("They avoid horror and love comedy.", HORROR_AND_WAR).of("contradicted") == []
