"""Faithfulness: how far the user's history supports what a profile claims.

Claims are recognised by the catalogue's own terms and compared with the history: categories (genres, brands, any
attribute with shared values), decades, percentages and quoted titles. Other statements (moods, themes) cannot be
checked here and do not lower the score.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, pstdev
from typing import NamedTuple

from pydantic import Field

from retort.offline.common.section import Section
from retort.offline.profiles.column_labels import is_of_taste, without_columns
from retort.offline.profiles.history import Event
from retort.offline.profiles.item_facts import Facet
from retort.offline.profiles.polarity import POSITIVE, before, clauses, is_negated
from retort.offline.profiles.vocabulary import Mention, Vocabulary, normal_title, stems, title_forms

_MIN_SHARE = 0.02  # share of the events that a positive claim requires, or one event of a short history
# At this share a user does not avoid a category; below it, a text may mean a part of it ("intense drama").
_LARGE_SHARE = 0.4
_RATED = 0.5  # standard deviations from the user's mean rating that mean like or dislike
_SHARE_ERROR = 0.2  # accepted error of a stated share

_WEAKENED = re.compile(r"\b(less|fewer|below|earlier|used to|once|occasional\w*|some|at times)\b", re.IGNORECASE)
_RATED_BELOW = re.compile(r"\brated (?:\w+ ){0,2}(?:below|lower)\b", re.IGNORECASE)
_SET_OFF = re.compile(r"[\"“«‘*_]([^\"”»’*_\n]{3,80})[\"”»’*_]")
_QUOTED = re.compile(r"[\"“«]([^\"”»\n]{3,80})[\"”»]")
_TITLE_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
# A capitalised word within a sentence that is no part of a longer name.
_NAME = re.compile(r"(?<![\w'’])[a-z][\w'’-]*,? (?=([^\W\d_][\w'’]{3,})(?! [A-Z]))")
_MAX_TITLE_WORDS = 8
_GENERIC_WORDS = (
    "user person enjoy appreciate prefer like love tend often various wide range variety different content quality "
    "good great interesting thing item choice taste interest engaging experience overall general well high many "
    "explore new value balance mix open diverse strong seem show clear a an the and of with for this that their they "
    "from are was were has have his her its who which into about in on to is it as by or both all such these those "
    "what when"
)
_GENERIC = frozenset(stems(_GENERIC_WORDS))


class FaithfulnessConfig(Section):
    """Recipe section `[profiles.trust]`: required faithfulness of a profile."""

    min_grounding: float = Field(
        0.25, ge=0, le=1, description="least faithfulness score; a text below is requested again; 0: off"
    )
    reject_imported: bool = Field(
        False, description="true: also reject imported profiles with a low score; false: only score them"
    )
    max_filler: float = Field(1.0, gt=0, le=1, description="largest share of sentences that fit any user")


class Claim(NamedTuple):
    """A claim of a text and its verdict: supported, unsupported or contradicted by the history."""

    text: str
    verdict: str


@dataclass(frozen=True)
class Faithfulness:
    """Result of checking a text against a history.

    Attributes:
        filler: Share of sentences that fit any user.
        score: 0 … 1; None where the catalogue has nothing to check against.
    """

    claims: tuple[Claim, ...]
    filler: float
    score: float | None

    def of(self, verdict: str) -> list[str]:
        """Return the claims with this verdict."""
        return [claim.text for claim in self.claims if claim.verdict == verdict]

    def problem(self, config: FaithfulnessConfig) -> str | None:
        """Return why the text is rejected, or None."""
        if self.filler > config.max_filler:
            return f"filler ({self.filler:.0%} of the sentences fit any user)"
        if self.score is None or self.score >= config.min_grounding:
            return None
        if not self.claims:
            return "makes no claim that the history could support"
        wrong = ", ".join(dict.fromkeys([*self.of("contradicted"), *self.of("unsupported")]))
        return f"not supported by the history ({wrong[:120]})"


class FaithfulnessChecker:
    """Checker of texts against histories, over one catalogue's vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def check(self, text: str, events: Sequence[Event]) -> Faithfulness:
        """Judge every checkable claim of a text."""
        if self._vocabulary.empty or not events:
            return Faithfulness((), 0.0, None)
        history = _History(events)
        claims = tuple(self._claims(text, history))
        filler = self._filler(text, history)
        return Faithfulness(claims, filler, _score(claims, filler))

    def named_title(self, text: str) -> str | None:
        """Return a title that a text names: one of the catalogue, or words set off and written like a title."""
        for found in _SET_OFF.finditer(text):
            words = _TITLE_WORD.findall(found.group(1))
            capitals = sum(map(_is_capitalised, words))
            if len(words) > 1 and capitals > 1 and 2 * capitals >= len(words) and not self._is_term(found.group(1)):
                return found.group(1)
        for found in _NAME.finditer(text):
            word = found.group(1)
            if word[0].isupper() and word.lower() in self._vocabulary.names and not self._is_term(word):
                return word
        words_at = list(_TITLE_WORD.finditer(text))
        for at, first in enumerate(words_at):
            if not _is_capitalised(first.group()):
                continue
            for last in words_at[at + 1 : at + _MAX_TITLE_WORDS]:
                phrase = text[first.start() : last.end()]
                if _is_capitalised(last.group()) and self._is_title(phrase):
                    return phrase
        return None

    def _is_title(self, phrase: str) -> bool:
        return normal_title(phrase) in self._vocabulary.titles and not self._is_term(phrase)

    def _is_term(self, phrase: str) -> bool:
        return stems(phrase) in self._vocabulary.terms

    def liked_facets(self, text: str, events: Sequence[Event]) -> list[Facet]:
        """Return the categories that a text speaks for and the history supports, those of most events first.

        Values of columns such as `cons` are left out, because a category is shown without its column.
        """
        history = _History(events) if events else None
        if history is None or self._vocabulary.empty:
            return []
        found: dict[Facet, int] = {}
        for mention, negated, _ in self._mentions(text):
            if not negated:
                facets = [facet for facet in mention.facets if is_of_taste(facet[0])]
                found |= {facet: history.count(facet) for facet in facets if history.count(facet)}
        return sorted(found, key=lambda facet: (-found[facet], facet))

    def _claims(self, text: str, history: "_History") -> Iterator[Claim]:
        for mention, negated, preceding in self._mentions(text):
            yield Claim(text[mention.start : mention.end].strip(), _verdict(text, mention, negated, preceding, history))
        for found in _QUOTED.finditer(text):
            title = normal_title(found.group(1))
            if len(title.split()) > 1:
                yield Claim(found.group(1), "supported" if title in history.titles else "unsupported")

    def _mentions(self, text: str) -> Iterator[tuple[Mention, bool, str]]:
        """Each mention, whether the text speaks against it, and what precedes it."""
        for start, end in clauses(text):
            found = self._vocabulary.mentions(text[start:end])
            moved = [Mention(mention.start + start, mention.end + start, mention.facets) for mention in found]
            spans = [(mention.start, mention.end) for mention in moved]
            for number, mention in enumerate(moved):
                names = {name for name, _ in mention.facets}
                preceding = without_columns(before(text, start, mention.start), names, self._vocabulary.columns)
                negated = is_negated(text, end, spans[number:], preceding, self._vocabulary.columns)
                yield mention, negated, " ".join(preceding)

    def _filler(self, text: str, history: "_History") -> float:
        sentences = [part for part in re.split(r"[.!?\n]+", text) if len(part.split()) >= 4]
        empty = [part for part in sentences if not self._is_specific(part, history)]
        return len(empty) / len(sentences) if sentences else 0.0

    def _is_specific(self, sentence: str, history: "_History") -> bool:
        return bool(self._vocabulary.mentions(sentence)) or not history.words.isdisjoint(stems(sentence))


def _is_capitalised(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit()


def _verdict(text: str, mention: Mention, negated: bool, preceding: str, history: "_History") -> str:
    """Judge a mention; of several categories that it can mean, the most favourable counts."""
    stated = re.match(r"\s*\(?(?:about |around |~|approximately )?(\d{1,3}) ?%", text[mention.end : mention.end + 24])
    share = stated and int(stated.group(1)) / 100
    verdicts = {_judge_facet(facet, negated, preceding, share, history) for facet in mention.facets}
    return next(verdict for verdict in ("supported", "unsupported", "contradicted") if verdict in verdicts)


def _judge_facet(facet: Facet, negated: bool, preceding: str, stated: float | None, history: "_History") -> str:
    share, liking = history.share(facet), history.liking(facet)
    if stated is not None and abs(stated - share) > _SHARE_ERROR:
        return "contradicted"
    if negated:
        if liking < 0 and _RATED_BELOW.search(preceding):
            return "supported"
        return "contradicted" if share >= _LARGE_SHARE and liking > -_RATED else "supported"
    if _WEAKENED.search(preceding):
        return "supported" if share > 0 else "unsupported"
    if share == 0:
        return "unsupported"
    if (
        stated is None
        and POSITIVE.search(preceding)
        and liking <= -_RATED
        and history.count(facet) >= 3
        and share < _LARGE_SHARE
    ):
        return "contradicted"
    return "supported" if share >= _MIN_SHARE else "unsupported"


def _score(claims: Sequence[Claim], filler: float) -> float:
    """Share of supported less contradicted claims; filler lowers it by up to half."""
    if not claims:
        return 0.5 * (1.0 - filler)
    counts = Counter(claim.verdict for claim in claims)
    supported = (counts["supported"] - counts["contradicted"]) / len(claims)
    return max(0.0, supported) * (1.0 - 0.5 * filler)


class _History:
    """Counts of one history."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._n = len(events)
        self._counts: Counter[Facet] = Counter()
        self._weights: dict[Facet, list[float]] = defaultdict(list)
        self.titles = {form for event in events for form in title_forms(event.facts.title)}
        words: set[str] = set()
        for event in events:
            for facet in event.facts.facets:
                self._counts[facet] += 1
                words.update(_stems(facet[1]))
                if event.weight is not None:
                    self._weights[facet].append(event.weight)
            words.update(_stems(event.facts.title), _stems(event.facts.text))
        self.words = {word for word in words if len(word) > 2} - _GENERIC
        given = [event.weight for event in events if event.weight is not None]
        self._mean, self._spread = (fmean(given), pstdev(given)) if given else (0.0, 0.0)

    def count(self, facet: Facet) -> int:
        """Number of events of this category."""
        return self._counts[facet]

    def share(self, facet: Facet) -> float:
        """Share of the events of this category."""
        return self._counts[facet] / self._n

    def liking(self, facet: Facet) -> float:
        """Mean weight of the category less the user's mean, in standard deviations; 0 where unknown."""
        given = self._weights.get(facet)
        return (fmean(given) - self._mean) / self._spread if given and self._spread else 0.0


@lru_cache(maxsize=65_536)
def _stems(text: str) -> tuple[str, ...]:
    return stems(text)
