"""Views of items: texts of an item that are encoded apart, weighted and concatenated."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.embeddings.encoder_config import EncoderConfig, ViewConfig
from retort.offline.embeddings.item_vectors import encode_items, view_texts, whiten_rows
from retort.offline.pipeline.context import make_plan
from retort.offline.pipeline.teach import encoder_key, item_encoder_key
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import ProfileError, RecipeError
from retort.shared.base.settings import LanguageModelSettings

ITEMS = Items(
    pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d", "e"],
            "title": ["Red lip stick", "Red lip balm", "Garden spade", None, None],
            "text": ["matt", "sweet", "steel", "", ""],
            "knowledge": ["party make-up", None, "digging soil tool", "digging soil", None],
        }
    )
)


def encoder(*views: dict[str, object]) -> EncoderConfig:
    return EncoderConfig(views=tuple(ViewConfig.model_validate({"model": "tfidf", **view}) for view in views))


def test_each_view_reads_its_own_text() -> None:
    texts = {name: view_texts(ITEMS, name).to_list() for name in ("title", "text", "titled", "knowledge", "all")}
    assert texts["title"][:2] == ["Red lip stick", "Red lip balm"]
    assert texts["titled"][0] == "Red lip stick. matt"
    assert texts["knowledge"] == ["party make-up", "", "digging soil tool", "digging soil", ""]
    assert texts["all"][0] == "Red lip stick. matt. party make-up"
    assert texts["all"][3] == "digging soil"


def test_views_are_weighted_and_concatenated_and_an_item_without_any_text_gets_no_vector() -> None:
    config = encoder({"text": "titled", "weight": 2.0}, {"text": "knowledge"})
    vectors = encode_items(ITEMS, config, Silent())
    assert vectors.ids == ["a", "b", "c", "d"]
    np.testing.assert_allclose(np.linalg.norm(vectors.vectors, axis=1), 1, atol=1e-5)
    titled = encode_items(ITEMS, encoder({"text": "titled"}), Silent())
    width = titled.vectors.shape[1]
    lengths = np.linalg.norm(vectors.vectors[:, :width], axis=1)
    np.testing.assert_allclose(lengths, [2 / 5**0.5, 1, 2 / 5**0.5, 0], atol=1e-5)
    assert vectors.vectors[2, width:] @ vectors.vectors[3, width:] > 0.2


def test_one_view_of_titles_is_the_encoder_without_views() -> None:
    with_view = encode_items(ITEMS, encoder({"text": "titled"}), Silent())
    without = encode_items(ITEMS, EncoderConfig(model="tfidf"), Silent())
    assert with_view.ids == without.ids
    np.testing.assert_allclose(with_view.vectors, without.vectors, atol=1e-6)


def test_whitened_components_have_equal_deviations_and_at_most_the_width() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32)
    white = whiten_rows(vectors, 4, 1.0)
    assert white.shape == (200, 4)
    np.testing.assert_allclose(white.std(0), 1, atol=1e-3)
    plain = whiten_rows(vectors, None, 0.0)
    np.testing.assert_allclose(np.sort(plain.std(0))[::-1], plain.std(0), atol=1e-4)
    np.testing.assert_allclose((plain**2).sum(), ((vectors - vectors.mean(0)) ** 2).sum(), rtol=1e-4)


@pytest.mark.parametrize("control", ["shuffled", "gaussian"])
def test_a_control_changes_its_own_view_alone(control: str) -> None:
    real = encode_items(ITEMS, encoder({"text": "titled"}, {"text": "knowledge"}), Silent())
    other = encode_items(ITEMS, encoder({"text": "titled"}, {"text": "knowledge", "control": control}), Silent())
    width = encode_items(ITEMS, encoder({"text": "titled"}), Silent()).vectors.shape[1]
    assert other.ids == real.ids
    np.testing.assert_allclose(other.vectors[:, :width], real.vectors[:, :width], atol=1e-6)
    assert not np.allclose(other.vectors[:, width:], real.vectors[:, width:], atol=1e-3)


def test_a_view_without_its_text_is_refused() -> None:
    items = Items(ITEMS.frame.drop("knowledge"))
    with pytest.raises(ProfileError, match=r"add \[knowledge\] to the recipe"):
        encode_items(items, encoder({"text": "titled"}, {"text": "knowledge"}), Silent())


def test_views_change_the_key_of_items_and_not_that_of_users(tmp_path: Path) -> None:
    views = "encoder.views=[{text='titled'},{text='knowledge',model='tfidf',weight=0.8}]"
    plain, viewed = (
        make_plan(load_recipe("beauty_sasrec_text", keys), tmp_path, LanguageModelSettings()) for keys in ([], [views])
    )
    assert encoder_key(plain) == encoder_key(viewed) == item_encoder_key(plain)
    assert "views" not in encoder_key(viewed)["encoder"]
    assert item_encoder_key(viewed) != item_encoder_key(plain)


def test_objectives_that_compare_users_with_items_refuse_views() -> None:
    keys = ["encoder.views=[{text='titled'}]", "reducer.method=none", "objectives=[{name='soft_items'}]"]
    with pytest.raises(RecipeError, match="spaces of their own"):
        load_recipe("beauty_sasrec_profile", keys)
