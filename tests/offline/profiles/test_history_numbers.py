"""Numbers of a history: each is what counting by hand gives, compared with all users where they are known."""

from datetime import UTC, datetime

import pytest

from retort.offline.profiles.history import Catalogue, Event, Facts, UserHistory
from retort.offline.profiles.history_numbers import history_numbers
from retort.offline.profiles.population import Population, count_population
from retort.offline.profiles.prompt import PromptWriter
from tests.offline.profiles._fakes import catalogue, histories


def film(title: str, genre: str, weight: float | None = None, day: str | None = None, year: int = 1994) -> Event:
    time_ms = None if day is None else int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)
    return Event(Facts(title, {"genre": genre, "year": year}), weight, time_ms)


def test_shares_have_their_lift_over_all_users() -> None:
    genres = ["Drama"] * 6 + ["Comedy"] * 3 + ["Noir"]
    lines = history_numbers(
        [film(str(n), genre) for n, genre in enumerate(genres)],
        Population({("genre", "Drama"): 0.3, ("genre", "Comedy"): 0.6, ("period", "1990s"): 0.5}),
    )
    assert lines[:3] == ["choices: 10", "decades: 1990s 100 % ×2.0", "genre: Drama 60 % ×2.0, Comedy 30 % ×0.5"]
    assert "genre: Drama 100 %" in history_numbers([film(str(n), "Drama") for n in range(4)])


def test_unusual_values_follow_the_most_frequent_ones() -> None:
    genres = [genre for genre, n in zip("ABCDEFG", (6, 5, 4, 4, 3, 2, 2), strict=True) for _ in range(n)]
    usual = {("genre", genre): 0.2 for genre in "ABCDEG"} | {("genre", "F"): 0.01}
    lines = history_numbers([film(str(n), genre) for n, genre in enumerate(genres)], Population(usual))
    (line,) = (line for line in lines if line.startswith("genre: "))
    assert line.split(": ")[1].split(", ")[-1] == "F 8 % ×7.7"
    assert "G" not in line


def test_what_nearly_all_items_have_is_left_out() -> None:
    lines = history_numbers([film(str(n), "Drama") for n in range(5)], Population({("genre", "Drama"): 0.99}))
    assert not any("Drama" in line for line in lines)


def test_ratings_are_compared_with_the_own_mean() -> None:
    events = [film(str(n), "Drama", 5.0) for n in range(3)] + [film(str(n + 3), "War", 2.0) for n in range(3)]
    assert "rating: mean 3.5 (all users 3.9); to the own mean: Drama +1.5, War -1.5" in history_numbers(
        events, Population({}, 3.9)
    )
    assert not [line for line in history_numbers([film(str(n), "A", 3.0) for n in range(6)]) if "rating" in line]


def test_the_first_third_is_compared_with_the_last() -> None:
    events = [film(str(n), "Drama" if n < 4 else "War") for n in range(9)]
    assert "first to last third: Drama 100 → 0 %, War 0 → 100 %" in history_numbers(events)
    assert not [line for line in history_numbers(events[:8]) if "third" in line]


def test_repeats_and_dates_are_counted() -> None:
    days = ["1997-09-20T10:00", "1997-09-20T11:00", "1997-11-01T10:00", "1998-01-01T10:00"]
    events = [film(title, "Drama", day=day) for title, day in zip("AABC", days, strict=True)]
    assert (
        history_numbers(events)[0] == "choices: 4; repeated: 25 %; 1997-09 to 1998-01; on 3 days; longest gap 61 days"
    )
    assert history_numbers([*events[:3], film("C", "Drama")])[0] == "choices: 4; repeated: 25 %"


def test_a_few_events_need_no_numbers() -> None:
    assert history_numbers([film(str(n), "Drama") for n in range(3)]) == []
    content = PromptWriter("long", "movies").write([film("A", "Drama")]).messages[1]["content"]
    assert "<numbers>\n" not in content
    assert content.endswith("<history>\nA (1994; Drama)\n</history>")


def test_the_population_counts_events_not_items() -> None:
    known = Catalogue(catalogue())
    users = [UserHistory("u", ["i0", "i0", "i1"], [1.0, 3.0, None]), UserHistory("v", ["gone", "i2"])]
    found = count_population(users, known)
    assert found.shares["genres", "Comedy"] == pytest.approx(2 / 4)
    assert found.shares["genres", "Drama"] == pytest.approx(3 / 4)
    assert found.mean_weight == 2.0
    assert Population.from_json(found.as_json()) == found
    assert found.lift(("genres", "Opera"), 0.5) is None


def test_numbers_stand_in_the_prompt_with_all_users_as_measure() -> None:
    known, users = Catalogue(catalogue()), histories(5, 8)
    writer = PromptWriter("short", "movies", population=count_population(users, known))
    content = writer.write(known.events(users[0], None)[0]).messages[1]["content"]
    block = content.split("\n<numbers>\n")[1].split("\n</numbers>\n")[0].split("\n")
    assert block[0] == "choices: 8"
    assert any(line.startswith("genres: ") and "×" in line for line in block)
    assert writer.version == PromptWriter("short", "movies").version
