"""Phrases from counting a history: shares, decades, drift, series, repeats. In English, like the templates."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev

from retort.offline.profiles.column_labels import is_of_taste
from retort.offline.profiles.history import Event
from retort.offline.profiles.item_facts import Facet
from retort.offline.profiles.vocabulary import stem, stems

_MIN_DRIFT = 0.12  # least change of a share between early and late events that is mentioned
_MIN_EVENTS_FOR_DRIFT = 6
_STOP_WORDS = (
    "the and of with for this that their they from are was were has have his her its who which into over under about "
    "after before when while where than then them him she you your our out one two all any not but can will must each "
    "other more most some such only own same too very just also item items new set pack"
)
_STOP = frozenset(_STOP_WORDS.split())
# A text made from columns names them, also those that are no attribute: "plot: …", "Main Setting: …".
_LABEL = re.compile(r"(?:\A|(?<=[.;|\n])\s*|(?<=[.;|] ))[^\W\d_][\w /-]{0,40}:(?=\s)")


@dataclass(frozen=True)
class Phrases:
    """Short phrases by subject, the strongest first, and a summary of one or two sentences."""

    likes: list[str]
    words: list[str]
    numbers: list[str]
    liked: list[str]
    dislikes: list[str]
    habits: list[str]
    recent: list[str]
    summary: str


def describe(events: Sequence[Event], top: int) -> Phrases:
    """Describe a history by what counting shows.

    Args:
        top: Values named for each attribute.
    """
    values = [event.facts.facets for event in events]
    shares = _shares(values)
    # what is named without its column: "drawn most of all to heavy" would be wrong of a column `cons`
    values = [[facet for facet in of_event if is_of_taste(facet[0])] for of_event in values]
    tastes = {name: pairs for name, pairs in shares.items() if is_of_taste(name)}
    likes = [f"{name}: {_listed(pairs[:top])}" for name, pairs in shares.items() if pairs]
    recent = _drift(values, top)
    liked, disliked = _rated(events, values, top)
    words = _words(events, 2 * top)
    return Phrases(
        likes=likes,
        words=[f"words that return in what was chosen: {', '.join(words)}"] if words else [],
        numbers=_numbers(events),
        liked=[f"rated above this person's average: {', '.join(liked)}"] if liked else [],
        dislikes=[f"rated below this person's average: {', '.join(disliked)}"] if disliked else [],
        habits=_habits(events, tastes, top),
        recent=recent,
        summary=_summary(len(events), tastes, recent, words),
    )


def _shares(values: Sequence[list[Facet]]) -> dict[str, list[tuple[str, float]]]:
    """attribute → (value, share of the events), the most frequent first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for of_event in values:
        for name, value in of_event:
            counts[name][value] += 1
    kept = {name: _ranked(counter) for name, counter in counts.items() if _is_category(counter, len(values))}
    return {name: [(value, n / len(values)) for value, n in ranked] for name, ranked in kept.items()}


def _is_category(counter: Counter[str], n_events: int) -> bool:
    """Whether values of an attribute repeat; one that never does (a code, a name) describes no taste."""
    return n_events < 4 or max(counter.values()) > 1


def _ranked(counter: Counter[str]) -> list[tuple[str, int]]:
    """Sort by count; equal counts by name, so that the same history gives the same text."""
    return sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))


def _listed(pairs: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{value} ({share:.0%})" for value, share in pairs)


def _numbers(events: Sequence[Event]) -> list[str]:
    columns: dict[str, list[float]] = defaultdict(list)
    for event in events:
        for name, value in event.facts.attributes.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                columns[name].append(float(value))
    phrases = []
    for name, values in columns.items():
        middle, low, high = median(values), min(values), max(values)
        phrases.append(f"{name} is mostly around {middle:g}, from {low:g} to {high:g}")
    return phrases


def _drift(values: Sequence[list[Facet]], top: int) -> list[str]:
    """Describe what is more, or less, frequent in the last third of the events than before."""
    if len(values) < _MIN_EVENTS_FOR_DRIFT:
        return []
    cut = len(values) - max(3, len(values) // 3)
    early, late = _flat_shares(values[:cut]), _flat_shares(values[cut:])
    change = {value: late.get(value, 0.0) - early.get(value, 0.0) for value in early.keys() | late.keys()}
    ordered = sorted(change, key=lambda value: (-abs(change[value]), value))[:top]
    more = [f"{value[1]}" for value in ordered if change[value] >= _MIN_DRIFT]
    less = [f"{value[1]}" for value in ordered if change[value] <= -_MIN_DRIFT]
    phrases = [f"lately more of {', '.join(more)}"] if more else []
    return [*phrases, f"lately less of {', '.join(less)}"] if less else phrases


def _flat_shares(values: Sequence[list[Facet]]) -> dict[Facet, float]:
    counter = Counter(value for of_event in values for value in of_event)
    return {value: n / len(values) for value, n in counter.items()}


def _rated(events: Sequence[Event], values: Sequence[list[Facet]], top: int) -> tuple[list[str], list[str]]:
    """Values whose events are weighted clearly above, and clearly below, the user's mean."""
    pairs = zip(events, values, strict=True)
    known = [(event.weight, of_event) for event, of_event in pairs if event.weight is not None]
    weights = [weight for weight, _ in known]
    if len(weights) < 4 or (spread := pstdev(weights)) == 0:
        return [], []
    by_value: dict[str, list[float]] = defaultdict(list)
    for weight, of_event in known:
        for _, value in of_event:
            by_value[value].append(weight)
    middle = fmean(weights)
    lift = {value: (fmean(given) - middle) / spread for value, given in by_value.items() if len(given) >= 2}
    ordered = sorted(lift, key=lambda value: (-abs(lift[value]), value))
    above = [value for value in ordered if lift[value] >= 0.3][:top]
    return above, [value for value in ordered if lift[value] <= -0.3][:top]


def _words(events: Sequence[Event], n: int) -> list[str]:
    """Content words that several events share; each event counts a word once."""
    counter: Counter[str] = Counter()
    # a text may name its columns ("genre: …"); their names are no taste
    labels = {label for event in events for name in event.facts.attributes for label in stems(name.replace("_", " "))}
    for event in events:
        text = _LABEL.sub(" ", event.facts.text)
        words = re.findall(r"[^\W\d_]{3,}", f"{event.facts.title} {text}".lower())
        counter.update({word for word in words if stem(word) not in labels} - _STOP)
    enough = 2 if len(events) > 3 else 1
    return [word for word, count in _ranked(counter)[:n] if count >= enough]


def _habits(events: Sequence[Event], shares: dict[str, list[tuple[str, float]]], top: int) -> list[str]:
    titles = Counter(event.facts.title for event in events)
    repeated = sum(count - 1 for count in titles.values()) / len(events)
    phrases = [f"comes back to the same thing in {repeated:.0%} of the choices"] if repeated else []
    if series := _series(titles)[:top]:
        phrases.append(f"follows series: {', '.join(series)}")
    for name, pairs in shares.items():
        favourite, strongest = pairs[0]
        if len(events) >= 4 and strongest >= 0.7:
            phrases.append(f"stays close to {favourite}")
        elif len(events) >= 8 and strongest <= 0.25:
            phrases.append(f"explores widely: no {name} has more than a quarter")
    return phrases


def _series(titles: Counter[str]) -> list[str]:
    """Beginnings that several different titles share: before a colon, a number or a roman numeral."""
    stems: Counter[str] = Counter()
    for title in titles:
        stem = re.split(r":|\s+(?:\d+|[IVX]{1,4})\b|\s+\(|,", title, maxsplit=1)[0].strip()
        if len(stem) >= 3:
            stems[stem] += 1
    return [stem for stem, count in _ranked(stems) if count >= 2]


def _summary(n_events: int, shares: dict[str, list[tuple[str, float]]], recent: list[str], words: list[str]) -> str:
    strongest = [pairs[0] for pairs in shares.values() if pairs]
    strongest.sort(key=lambda pair: (-pair[1], pair[0]))
    known = "only one choice is" if n_events == 1 else f"{n_events} choices are"
    taste = ", ".join(value for value, _ in strongest[:3]) or ", ".join(words[:3]) or "no single kind of thing"
    text = f"A person of whom {known} known, and who is drawn most of all to {taste}."
    return f"{text} {recent[0][:1].upper()}{recent[0][1:]}." if recent else text
