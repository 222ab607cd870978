"""Claims of profiles are compared with the history: inventions are found, true texts are accepted."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import pytest

from retort.offline.data.interactions import Items
from retort.offline.profiles.backends import template
from retort.offline.profiles.backends._base import Prompt, Sampling
from retort.offline.profiles.faithfulness import Faithfulness, FaithfulnessChecker, FaithfulnessConfig
from retort.offline.profiles.history import Catalogue, Event, UserHistory
from retort.offline.profiles.item_facts import Facts
from retort.offline.profiles.vocabulary import read_vocabulary
from tests.offline.profiles._fakes import CHECKER, HORROR_AND_WAR, NO_SERVER

GENRES = ["Comedy", "Drama", "Action", "Horror", "Western", "Sci-Fi", "Romance", "Children's", "Film-Noir", "Musical"]
DECADES = [1930, 1950, 1970, 1990]


def films() -> Items:
    """Four films of each genre and decade."""
    rows = [
        {
            "item_id": f"{genre}-{year}-{n}",
            "title": f"The {genre} Story {year + n}",
            "text": f"Something happens in number {n}.",
            "genres": [genre],
            "year": year + n,
        }
        for genre, year, n in itertools.product(GENRES, DECADES, range(4))
    ]
    return Items(pl.DataFrame(rows))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(films())


@pytest.fixture(scope="module")
def checker(catalogue: Catalogue) -> FaithfulnessChecker:
    return FaithfulnessChecker(catalogue.vocabulary)


def history(catalogue: Catalogue, genres: Sequence[str], year: int, ratings: Sequence[float] = ()) -> list[Event]:
    ids = [f"{genre}-{year}-{n}" for genre in genres for n in range(4)]
    weights = [rating for rating in ratings for _ in range(4)] or None
    return catalogue.events(UserHistory("u", ids, weights), None)[0]


@pytest.fixture(scope="module")
def events(catalogue: Catalogue) -> list[Event]:
    """Half comedies, a quarter each of science fiction and musicals, all of the nineties; musicals are not liked."""
    return history(catalogue, ["Comedy", "Comedy", "Sci-Fi", "Musical"], 1990, [5, 4, 5, 1])


@pytest.mark.parametrize(
    ("text", "said", "verdict"),
    [
        ("The user enjoys comedies most of all.", "comedies", "supported"),
        ("A love of science fiction runs through it.", "science fiction", "supported"),
        ("The person is drawn to films of the 1990s.", "1990s", "supported"),
        ("Mostly from the nineties.", "nineties", "supported"),
        ("Comedy (50%) leads.", "Comedy", "supported"),
        ("They avoid horror and westerns.", "horror", "supported"),
        ("The user loves musicals.", "musicals", "contradicted"),
        ("There are musicals among them.", "musicals", "supported"),
        ("The user loves westerns.", "westerns", "unsupported"),
        ("A taste for film noir shows.", "film noir", "unsupported"),
        ("They prefer the 1950s.", "1950s", "unsupported"),
        ("The user dislikes comedy.", "comedy", "contradicted"),
        ("Sci-Fi (90%) is nearly everything.", "Sci-Fi", "contradicted"),
        ('They often watch "The Western Story 1950".', "The Western Story 1950", "unsupported"),
        ('They often watch "The Comedy Story 1991".', "The Comedy Story 1991", "supported"),
    ],
)
def test_claims_are_judged(
    checker: FaithfulnessChecker, events: list[Event], text: str, said: str, verdict: str
) -> None:
    assert (said, verdict) in list(checker.check(text, events).claims)


def test_contrasting_clauses_reverse_the_claim(checker: FaithfulnessChecker, events: list[Event]) -> None:
    claims = dict(checker.check("They do not care for westerns, but they love comedies.", events).claims)
    assert claims == {"westerns": "supported", "comedies": "supported"}
    claims = dict(checker.check("While not fond of horror, the user enjoys comedies.", events).claims)
    assert claims["comedies"] == "supported"


def test_filler_is_measured(checker: FaithfulnessChecker, events: list[Event]) -> None:
    empty = checker.check("The user appreciates good quality. They enjoy a wide range of interesting things.", events)
    assert (empty.filler, empty.claims, empty.score) == (1.0, (), 0.0)
    assert empty.problem(FaithfulnessConfig()) == "makes no claim that the history could support"
    assert "filler" in (empty.problem(FaithfulnessConfig(max_filler=0.5)) or "")
    full = checker.check("The user appreciates comedies of the nineties.", events)
    assert (full.filler, full.score) == (0.0, 1.0)


def test_a_catalogue_without_categories_judges_nothing(events: list[Event]) -> None:
    bare = Catalogue(Items(pl.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"], "text": ["", ""]})))
    found = FaithfulnessChecker(bare.vocabulary).check("Loves westerns.", bare.events(UserHistory("u", ["a"]), None)[0])
    assert found == Faithfulness((), 0.0, None)
    assert found.problem(FaithfulnessConfig()) is None


def test_the_template_profile_is_supported(checker: FaithfulnessChecker, events: list[Event]) -> None:
    backend = template.open_backend(template.Config(), Sampling(0, 64, 0), NO_SERVER)
    (reply,) = backend.write([Prompt((), tuple(events))], lambda _: None)
    score = checker.check(reply.text, events).score
    assert score is not None
    assert score > 0.8


LIKES = "The user enjoys {} films. ", "A strong preference for {} stands out. ", "They keep coming back to {}. "
DISLIKES = "They tend to avoid {}. ", "The user shows little interest in {}. "


def planted(catalogue: Catalogue) -> list[tuple[str, list[Event], set[str]]]:
    """Texts of true sentences with known inventions among them: (text, history, what was invented)."""
    cases = []
    for at, (first, second) in enumerate(itertools.permutations(GENRES, 2)):
        seen = history(catalogue, [first, first, second], DECADES[at % 4])
        absent = [genre for genre in GENRES if genre not in (first, second)]
        lie, never = absent[at % len(absent)], absent[(at + 3) % len(absent)]
        decade, wrong = DECADES[at % 4], DECADES[(at + 1) % 4]
        text = LIKES[at % 3].format(first) + LIKES[(at + 1) % 3].format(second) + f"Most are from the {decade}s. "
        text += DISLIKES[at % 2].format(never)
        lies: set[str] = set()
        if at % 2:
            text, lies = text + LIKES[(at + 2) % 3].format(lie), {lie}
        if at % 3 == 0:
            text, lies = text + f"They are nostalgic for the {wrong}s. ", lies | {f"{wrong}s"}
        if at % 5 == 0:
            text, lies = text + f"They do not watch {first} at all. ", lies | {f"not {first}"}
        cases.append((text, seen, lies))
    return cases


def test_planted_inventions_are_found(checker: FaithfulnessChecker, catalogue: Catalogue) -> None:
    found_right = found = lies_told = 0
    told_apart = []
    for text, seen, lies in planted(catalogue):
        faithfulness = checker.check(text, seen)
        named = set(faithfulness.of("unsupported")) | {f"not {said}" for said in faithfulness.of("contradicted")}
        found, found_right, lies_told = found + len(named), found_right + len(named & lies), lies_told + len(lies)
        told_apart.append((faithfulness.score or 0.0, bool(lies)))
    precision, recall = found_right / found, found_right / lies_told
    assert precision >= 0.95, precision
    assert recall >= 0.95, recall
    assert min(score for score, lied in told_apart if not lied) > max(score for score, lied in told_apart if lied)


def test_another_users_profile_scores_lower(checker: FaithfulnessChecker, catalogue: Catalogue) -> None:
    backend = template.open_backend(template.Config(), Sampling(0, 64, 0), NO_SERVER)
    seen = [
        history(catalogue, [first, second], DECADES[at % 4])
        for at, (first, second) in enumerate(itertools.combinations(GENRES, 2))
    ]
    texts = [reply.text for reply in backend.write([Prompt((), tuple(one)) for one in seen], lambda _: None)]
    own = [checker.check(text, one).score or 0.0 for text, one in zip(texts, seen, strict=True)]
    others = [checker.check(text, seen[at - 7]).score or 0.0 for at, text in enumerate(texts)]
    assert min(own) > 0.8
    assert sum(others) / len(others) < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "Likes: comedy.\nDislikes: horror; war.",
        "Likes: comedy.\nDislikes: tense films. Horror, and war.",
        "### Likes\n- comedy\n### Avoided\n- horror\n- war",
        "**Dislikes:**\n* horror\n* war\n\nEnjoys comedy.",
    ],
)
def test_every_phrase_of_a_list_of_dislikes_is_disliked(text: str) -> None:
    assert CHECKER.liked_facets(text, HORROR_AND_WAR) == [("genres", "Comedy")]
    contradicted = CHECKER.check("Likes: war.\nDislikes: horror; comedy.", HORROR_AND_WAR).of("contradicted")
    assert contradicted == ["comedy"]


def test_decades_are_checked_where_the_year_is_a_text() -> None:
    assert CHECKER.check("Enjoys films of the 1990s.", HORROR_AND_WAR).of("supported")
    assert CHECKER.check("Enjoys films of the 1950s.", HORROR_AND_WAR).of("unsupported")


@pytest.mark.parametrize(
    "name", ["releaseYear", "Year-Of-Publication", "startYear", "release_date", "publication_date"]
)
@pytest.mark.parametrize("value", ["1994", 1994.0, "1994-05-01T00:00", "May 1, 1994", "01.05.1994", "(1994)"])
def test_decades_are_checked_whatever_the_form_of_the_year(name: str, value: str | float) -> None:
    events = [Event(Facts(f"Film {at}", {name: value})) for at in range(4)]
    checker = FaithfulnessChecker(read_vocabulary([event.facts for event in events]))
    assert checker.check("Enjoys films of the 1990s.", events).of("supported")
    assert checker.check("Enjoys films of the 1950s.", events).of("unsupported")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("They loved Night Train above all.", "Night Train"),
        ("They loved “The Lost Dragon” above all.", "The Lost Dragon"),
        ("They loved *The Lost Dragon* above all.", "The Lost Dragon"),
        ("They loved The Matrix above all.", "The Matrix"),
        ("They loved Star Wars above all.", "Star Wars"),
        ("They loved Casablanca above all.", "Casablanca"),
        ("Casablanca Beach and King Casablanca are other names.", None),
        ("They take the night train, and like Science Fiction and “feel-good” films.", None),
    ],
)
def test_named_titles_are_found(text: str, title: str | None) -> None:
    checker = FaithfulnessChecker(replace(CHECKER._vocabulary, terms={("science", "fiction"): frozenset()}))
    assert checker.named_title(text) == title
