"""Checks of texts about items: contradictions with what was given, numbers, restated titles, loops, refusals."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from retort.offline.knowledge.catalogue_names import CatalogueNames, categories_of, normal_name, own_brands
from retort.offline.knowledge.config import KnowledgeChecks
from retort.offline.knowledge.replies import Answer
from retort.offline.profiles.checks import echoes
from retort.offline.profiles.item_facts import Facts, year_of
from retort.offline.profiles.privacy_checks import find_contact
from retort.offline.profiles.prompt import language_code
from retort.offline.profiles.refusals import is_refusal
from retort.offline.profiles.thoughts import has_tags

RIVALS = "rivals"
_OF_ITEM = ("type", "properties")  # fields that describe the item itself
_SHARED_WORDS = 2
_PRICE = re.compile(
    r"[$€£¥₽]\s?\d|\b\d+(?:[.,]\d+)?\s?(?:usd|eur|gbp|dollars?|euros?|pounds sterling)\b", re.IGNORECASE
)
_YEAR = re.compile(r"(?<!\d)(1[89]\d{2}|20\d{2})(s?)(?!\d)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_MADE_BY = re.compile(r"\b(?:brand|made by|manufactured by|maker)\s*:?\s+(.+)$", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_LATIN = frozenset(
    ["en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "sk", "hu", "ro", "tr", "id", "vi"]
)
# Serbian and Kazakh are written in both scripts.
_CYRILLIC = frozenset(["ru", "uk", "bg", "be"])
_LOOP_WORDS = 12  # from here on, half of the words must differ


class Checked(NamedTuple):
    """The result of checking one answer.

    Attributes:
        text: The text to keep; "" where nothing is known.
        fields: field → phrases that are kept.
        problem: Why the text is refused; None: accepted.
        notes: What was removed: numbers, prices, the own brand among rivals.
    """

    text: str
    fields: Mapping[str, list[str]]
    problem: str | None
    notes: Counter[str]


def check_answer(
    answer: Answer, facts: Facts, rules: KnowledgeChecks, names: CatalogueNames, language: str, instructions: str
) -> Checked:
    """Check what a model answered about one item; single phrases that may not stay are removed.

    Args:
        names: Brands of the catalogue.
        instructions: Template text that a reply must not repeat.
    """
    if not answer.text:
        return Checked("", {}, None, Counter())
    problem = contradiction(answer.text, facts, names)
    kept, notes = _kept_phrases(answer, facts)
    text = Answer(kept).text
    problem = problem or _problem(text, facts, rules, language, instructions)
    return Checked(text, kept, problem, notes)


def _kept_phrases(answer: Answer, facts: Facts) -> tuple[dict[str, list[str]], Counter[str]]:
    given, brands = _given_numbers(facts), own_brands(facts)
    given |= {f"{number[:3]}0" for number in given if len(number) == 4 and number.isdigit()}  # decades of given years
    kept: dict[str, list[str]] = {}
    notes: Counter[str] = Counter()
    for field, phrases in answer.fields.items():
        kept[field] = []
        for phrase in phrases:
            if _PRICE.search(phrase):
                notes["prices removed"] += 1
            elif set(_NUMBER.findall(phrase)) - given:
                notes["numbers removed"] += 1
            elif field == RIVALS and normal_name(phrase) in brands:
                notes["own brands among rivals removed"] += 1
            else:
                kept[field].append(phrase)
    return kept, notes


def _problem(text: str, facts: Facts, rules: KnowledgeChecks, language: str, instructions: str) -> str | None:
    if not text:
        return "only numbers or prices that were not given"
    if is_refusal(text):
        return "a refusal"
    words = _WORD.findall(text.lower())
    if len(words) < rules.min_words:
        return f"too short ({len(words)} words, at least {rules.min_words})"
    if len(words) > rules.max_words:
        return f"too long ({len(words)} words, at most {rules.max_words})"
    if re.search(r"</?records?>|\$\w+|\{\W", text) or echoes(text, instructions):
        return "repeats the instructions"
    if has_tags(text):
        return "contains tags"
    if contact := find_contact(text):
        return contact
    if len(words) >= _LOOP_WORDS and len(set(words)) < 0.5 * len(words):
        return "repeats itself"
    if rules.refuse_restated and not new_words(text, facts):
        return "only restates what was given"
    return wrong_script(text, language)


def contradiction(text: str, facts: Facts, names: CatalogueNames) -> str | None:
    """Return how a text contradicts the item's attributes, or None: another year, or another brand as its maker."""
    year = next((year for name, value in facts.attributes.items() if (year := year_of(name, value))), None)
    if year is not None:
        given = _given_numbers(facts)
        for found in _YEAR.finditer(text):
            stated, is_decade = int(found[1]), bool(found[2])
            other = year // 10 != stated // 10 if is_decade else abs(stated - year) > 1
            if other and found[1] not in given:
                return f"contradicts the year ({found[0]}, given is {year})"
    brands = own_brands(facts)
    for phrase in text.split(", "):
        made = _MADE_BY.search(phrase)
        if brands and made and (stated_brand := normal_name(made[1])) not in brands and stated_brand in names.brands:
            return f"contradicts the brand ({made[1][:40]})"
    return None


def other_category(fields: Mapping[str, list[str]], facts: Facts, names: CatalogueNames) -> bool:
    """Whether a text's type is, by name, a category of the catalogue that the item does not have.

    It is counted and not refused: either the text or the item's category may be wrong.
    """
    own = categories_of(facts.attributes)
    kinds = {normal_name(phrase) for phrase in fields.get("type", ())}
    return bool(own) and any(kind in names.categories and kind not in own for kind in kinds)


def new_words(text: str, facts: Facts) -> set[str]:
    """Return the words of a text that neither title, attributes nor quoted text of the item hold."""
    given = {word for part in _given_texts(facts) for word in _WORD.findall(part.lower())}
    return {word for word in _WORD.findall(text.lower()) if word not in given and len(word) > 2}


def wrong_script(text: str, language: str) -> str | None:
    """Return the problem of a text in another script than its language's, or with hardly any letters."""
    letters = [letter for letter in text if letter.isalpha()]
    if len(letters) < 0.5 * len("".join(text.split())):
        return "hardly any letters"
    latin = sum(letter < "ɐ" for letter in letters) / len(letters)
    cyrillic = sum("Ѐ" <= letter <= "ӿ" for letter in letters) / len(letters)
    code = language_code(language)
    if (code in _LATIN and latin < 0.8) or (code in _CYRILLIC and cyrillic < 0.5):
        return "in another script than its language"
    return None


def mixed_up(fields: Mapping[str, list[str]], own: Facts, others: list[Facts]) -> bool:
    """Whether an answer of a reply about several items describes another one of them.

    What it says of the item itself, not of its rivals, shares no word with the item's facts and several with a title
    of the others.
    """
    of_item = [phrase for name in _OF_ITEM for phrase in fields.get(name, ())] or fields.get("", [])[:3]
    words = {word for phrase in of_item for word in _WORD.findall(phrase.lower())}
    if words & {word for part in _given_texts(own) for word in _WORD.findall(part.lower())}:
        return False
    return any(len(words & _title_words(other)) >= _SHARED_WORDS for other in others)


def _title_words(facts: Facts) -> set[str]:
    return {word for word in _WORD.findall(facts.title.lower()) if len(word) > 3 and not word.isdigit()}


def _given_texts(facts: Facts) -> list[str]:
    return [facts.title, facts.text, *(str(value) for value in facts.attributes.values())]


def _given_numbers(facts: Facts) -> set[str]:
    return {number for part in _given_texts(facts) for number in _NUMBER.findall(part)}
