"""Vocabulary: the terms by which claims about items are recognised: the catalogue's categories, decades and titles."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from retort.offline.profiles.item_facts import PERIOD, Facet, Facts, column_words

# Synonyms of common categories of films, books and games.
_ALIASES = {
    "science fiction": "sci-fi",
    "scifi": "sci-fi",
    "romantic": "romance",
    "animated": "animation",
    "comedic": "comedy",
    "musical numbers": "musical",
    "suspense": "thriller",
    "film noir": "film-noir",
    "noir": "film-noir",
    "historical": "history",
    "biographical": "biography",
    "children": "children's",
}
_DECADES = {
    name: f"19{number}0s"
    for number, name in enumerate(
        ("", "", "twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")
    )
    if name
}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
_ASIDE = re.compile(r"\([^)]*\)|\[[^\]]*\]")  # year, original title, edition
_ARTICLE_LAST = re.compile(
    r"\A(.+?), (The|An?|Le|La|Les|L'|Il|Lo|Gli|I|El|Los|Las|Der|Die|Das|Den|Det|O|Os|As)\b(?!,)\s*(:.*|)\Z",
    re.IGNORECASE,
)
_SUBTITLE = re.compile(r"\s*:\s+")
_MAX_WORDS = 5  # of one term
_NAME_CHARS, _NAME_TITLES = 4, 2  # a title of one word that is shorter, or is in more titles, is an ordinary word
_NAMES_FROM = 60  # an attribute with more values holds names (brands, authors), which are capitalised


class Mention(NamedTuple):
    """A term in a text, from `start` to `end`, and the categories that it can mean."""

    start: int
    end: int
    facets: frozenset[Facet]


@dataclass(frozen=True)
class Vocabulary:
    """Terms of a catalogue.

    Attributes:
        terms: Stems of a category's name → the categories.
        named: Attributes whose values are names, recognised only where capitalised.
        titles: Normalised titles of all items.
        names: Titles of one word that hardly any other title contains, such as `Casablanca`.
        has_periods: Whether items have years, so that decades can be checked.
        columns: Names of the items' attributes, as words.
    """

    terms: Mapping[tuple[str, ...], frozenset[Facet]]
    named: frozenset[str]
    titles: frozenset[str]
    has_periods: bool
    names: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether no claim can be checked."""
        return not self.terms and not self.has_periods

    def mentions(self, text: str) -> list[Mention]:
        """Return all terms in a text, in order; at each position the longest term."""
        words = [(found.start(), found.end(), found.group()) for found in _WORD.finditer(text)]
        stems = [stem(word) for _, _, word in words]
        found, at = [], 0
        while at < len(words):
            length, meanings = self._longest(stems, at)
            if meanings and self._is_written_as_name(text[words[at][0]], meanings):
                found.append(Mention(words[at][0], words[at + length - 1][1], meanings))
            at += max(1, length)
        return found + list(self._periods(text))

    def _longest(self, stems: list[str], at: int) -> tuple[int, frozenset[Facet]]:
        for length in range(min(_MAX_WORDS, len(stems) - at), 0, -1):
            meanings = self.terms.get(tuple(stems[at : at + length]))
            if meanings:
                return length, meanings
        return 0, frozenset()

    def _is_written_as_name(self, first: str, meanings: frozenset[Facet]) -> bool:
        return first.isupper() or first.isdigit() or not all(name in self.named for name, _ in meanings)

    def _periods(self, text: str) -> Iterator[Mention]:
        if not self.has_periods:
            return
        for found in re.finditer(r"\b((?:18|19|20)\d0)['’]?s\b|['’\s](\d0)['’]?s\b", text):
            value = f"{found.group(1)}s" if found.group(1) else _short_decade(found.group(2))
            yield Mention(found.start(), found.end(), frozenset({(PERIOD, value)}))
        for found in re.finditer(r"\b(" + "|".join(_DECADES) + r")\b", text, re.IGNORECASE):
            yield Mention(found.start(), found.end(), frozenset({(PERIOD, _DECADES[found.group(1).lower()])}))


def _short_decade(digits: str) -> str:
    return f"{'20' if int(digits) < 30 else '19'}{digits}s"


def read_vocabulary(all_facts: Iterable[Facts]) -> Vocabulary:
    """Build the vocabulary from values that at least two items share; a value of a single item describes no taste."""
    counts: Counter[Facet] = Counter()
    titles: set[str] = set()
    in_titles: Counter[str] = Counter()
    columns: set[str] = set()
    for facts in all_facts:
        columns.update(facts.attributes)
        counts.update(facts.facets)
        forms = title_forms(facts.title)
        titles |= forms
        in_titles.update({word for form in forms for word in form.split()})
    values: dict[str, list[str]] = defaultdict(list)
    for (name, value), count in counts.items():
        if count > 1 and value not in ("yes", "no"):
            values[name].append(value)
    terms: dict[tuple[str, ...], set[Facet]] = defaultdict(set)
    for name, shared in values.items():
        if name == PERIOD:
            continue
        for value in shared:
            for term in _spellings(value):
                terms[term].add((name, value))
    named = frozenset(name for name, shared in values.items() if len(shared) > _NAMES_FROM)
    frozen = {term: frozenset(meanings) for term, meanings in terms.items()}
    names = {title for title in titles if len(title) >= _NAME_CHARS and in_titles[title] <= _NAME_TITLES}
    words = frozenset(map(column_words, columns))
    return Vocabulary(frozen, named, frozenset(titles - {""}), PERIOD in values, frozenset(names), words)


def _spellings(value: str) -> Iterator[tuple[str, ...]]:
    """Yield how a text may write a category's name."""
    own = stems(value)
    if own and len(own) <= _MAX_WORDS and len("".join(own)) >= 3:
        yield own
    for alias, category in _ALIASES.items():
        if stems(category) == own:
            yield stems(alias)


def stems(text: str) -> tuple[str, ...]:
    """Return the stems of a text's words."""
    return tuple(stem(word) for word in _WORD.findall(text))


@lru_cache(maxsize=65_536)  # texts repeat their words
def stem(word: str) -> str:
    """Remove plural and possessive endings only: `comedies` and `comedy` become equal, `action` and `act` do not."""
    word = re.sub(r"['’]s?$", "", word.lower())
    for ending, replacement in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)] + replacement
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


@lru_cache(maxsize=65_536)  # an item is in many histories
def title_forms(title: str) -> frozenset[str]:
    """Return how a text may write a title: as it is, `Matrix, The` as `The Matrix`, and without its subtitle."""
    bare = _ASIDE.sub(" ", title).strip()
    bare = _ARTICLE_LAST.sub(r"\2 \1\3", bare)
    main = _SUBTITLE.split(bare, maxsplit=1)[0]
    forms = frozenset((normal_title(title), normal_title(bare)))
    return forms | {normal_title(main)} if len(_WORD.findall(main)) > 1 else forms


def normal_title(title: str) -> str:
    """Return a title without year, case and punctuation."""
    return " ".join(_WORD.findall(re.sub(r"\(\d{4}\)", "", title).lower()))
