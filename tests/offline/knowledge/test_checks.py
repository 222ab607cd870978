"""Checks of texts about items: what was given is not contradicted, and nothing is only repeated."""

import pytest

from retort.offline.knowledge.catalogue_names import read_names
from retort.offline.knowledge.checks import Checked, check_answer, mixed_up, new_words, other_category, wrong_script
from retort.offline.knowledge.config import KnowledgeChecks
from retort.offline.knowledge.replies import Answer
from retort.offline.profiles.item_facts import Facts
from tests.offline.knowledge._fakes import shop

FACTS = Facts("Essie Nail Lacquer, 13.5 ml", {"brand": "Essie", "year": 2010, "category": ["Beauty", "Nails"]}, "")
NAMES = read_names(shop())
RULES = KnowledgeChecks()


def _check(*phrases: str, language: str = "en", field: str = "type", rules: KnowledgeChecks = RULES) -> Checked:
    return check_answer(Answer({field: list(phrases)}), FACTS, rules, NAMES, language, "instructions")


def test_a_good_text_is_kept_as_it_is() -> None:
    checked = _check("glossy polish", "holiday party manicure", "13.5 ml bottle")
    assert checked.problem is None
    assert checked.text == "glossy polish, holiday party manicure, 13.5 ml bottle"


@pytest.mark.parametrize(
    ("phrases", "problem"),
    [
        (("glossy polish", "winter collection 2014"), "contradicts the year (2014, given is 2010)"),
        (("glossy polish", "nineties style of the 1990s"), "contradicts the year (1990s, given is 2010)"),
        (("glossy polish", "made by China Glaze"), "contradicts the brand (China Glaze)"),
        (("I'm sorry, I cannot describe this product",), "a refusal"),
        (("gift set",), "too short (2 words, at least 3)"),
        (("essie nail lacquer", "beauty nails"), "only restates what was given"),
        (("shine shine shine shine", "gloss gloss gloss", "shine gloss shine gloss shine"), "repeats itself"),
        (("лак для ногтей", "праздничный маникюр"), "in another script than its language"),
        (("ask for it at nails@example.com today",), "contains an e-mail address"),
        (("glossy polish", "<musings>maybe</musings> for parties"), "contains tags"),
    ],
)
def test_unusable_texts_are_refused_with_the_reason(phrases: tuple[str, ...], problem: str) -> None:
    assert _check(*phrases).problem == problem


def test_ages_and_genders_that_an_item_is_for_are_no_private_attributes() -> None:
    assert _check("play polish for girls", "gender: female", "for a middle-aged man as a gift").problem is None
    facts = Facts("Polish for age 10 and up", {}, "")
    answer = Answer({"type": ["play polish for children aged 10"]})
    assert check_answer(answer, facts, RULES, NAMES, "en", "").problem is None


def test_the_year_of_the_title_and_its_neighbours_are_no_contradiction() -> None:
    assert _check("glossy polish", "spring collection 2010").problem is None
    facts = Facts("Vintage 1985 Lacquer", {"year": 2010}, "")
    answer = Answer({"type": ["lacquer in the style of 1985"]})
    assert check_answer(answer, facts, RULES, NAMES, "en", "").problem is None


def test_numbers_and_prices_that_were_not_given_are_removed_and_counted() -> None:
    checked = _check("glossy fast drying polish", "lasts 7 days", "$9 a bottle", "13.5 ml")
    assert checked.text == "glossy fast drying polish, 13.5 ml"
    assert dict(checked.notes) == {"numbers removed": 1, "prices removed": 1}


def test_rivals_lose_the_own_brand_and_keep_unknown_ones() -> None:
    answer = Answer({"type": ["glossy fast drying polish"], "rivals": ["Essie", "OPI", "Nonexistia"]})
    checked = check_answer(answer, FACTS, RULES, NAMES, "en", "")
    assert checked.fields["rivals"] == ["OPI", "Nonexistia"]
    assert checked.notes == {"own brands among rivals removed": 1}


def test_a_type_that_is_another_category_of_the_catalogue_is_recognised() -> None:
    facts = Facts("Lush Wonder1", {"category": ["Beauty", "Bath Bomb"]}, "")
    assert other_category({"type": ["hand cream"]}, facts, NAMES)
    assert not other_category({"type": ["bath bombs"]}, facts, NAMES)
    assert not other_category({"type": ["shaving foam"]}, facts, NAMES)
    assert not other_category({"type": ["hand cream"]}, Facts("Lush Wonder1", {}, ""), NAMES)


def test_nothing_known_is_accepted() -> None:
    assert _check() == Checked("", {}, None, _check().notes)


def test_other_scripts_are_right_in_their_language() -> None:
    assert wrong_script("лак для ногтей", "ru") is None
    assert wrong_script("glossy polish", "ru") is not None
    assert wrong_script("マニキュア", "ja") is None
    assert wrong_script("glossy polish", "Russian") is not None, "a language may be given by its name"
    assert wrong_script("лак для ногтей", "German") is not None
    assert wrong_script("hochglänzender Nagellack", "German") is None
    assert wrong_script("sjajni lak", "Serbian") is None
    assert wrong_script("12 345 678 9", "ja") == "hardly any letters"


def test_an_answer_about_another_record_is_recognised() -> None:
    lacquer, bomb = Facts("Essie Nail Lacquer", {}, ""), Facts("Lush Lavender Bath Bomb", {}, "")
    assert mixed_up({"type": ["fizzing lavender bath ball"]}, lacquer, [bomb])
    assert mixed_up({"": ["fizzing ball", "lavender bath"]}, lacquer, [bomb])
    assert not mixed_up({"type": ["glossy lacquer", "then lavender bath"]}, lacquer, [bomb])
    assert not mixed_up({"type": ["glossy colour"], "rivals": ["Lush Lavender"]}, lacquer, [bomb])


def test_new_words_are_those_beyond_title_and_attributes() -> None:
    assert new_words("essie glossy nails polish", FACTS) == {"glossy", "polish"}


def test_names_are_brands_and_openings_of_titles() -> None:
    assert NAMES.knows("china glaze")
    assert NAMES.knows("Essie Wonder0")
    assert not NAMES.knows("Zoya")
