"""The TF-IDF baseline without a language model."""

import numpy as np
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.ctr.run import read_ctr_file
from retort.offline.data.interactions import Items
from retort.offline.embeddings.encoder import encode_texts
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.item_vectors import encode_items
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import ProfileError, RecipeError

CONFIG = EncoderConfig(model="tfidf")


def test_texts_that_share_words_are_nearer_and_equal_texts_are_equal() -> None:
    texts = ["red lip stick", "red lip balm", "steel garden spade", "garden spade handle", "red lip stick"]
    vectors = encode_texts(texts, CONFIG, Silent()).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    np.testing.assert_array_equal(vectors[0], vectors[4])


def test_the_same_texts_give_the_same_vectors_and_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "retort.offline.embeddings.text_model.load_encoder", lambda config: pytest.fail("a model was loaded")
    )
    frame = pl.DataFrame(
        {"item_id": ["a", "b", "c"], "title": ["one two", "two three", None], "text": ["x", "four", ""]}
    )
    first, second = (encode_items(Items(frame), CONFIG, Silent()) for _ in range(2))
    assert first.ids == ["a", "b"]
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_a_text_without_a_word_is_finite_and_words_must_be_somewhere() -> None:
    vectors = encode_texts(["one two", "two three", "!"], CONFIG, Silent()).vectors
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors[2]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ProfileError, match="cannot distinguish them"):
        encode_texts(["!", "?"], CONFIG, Silent())


def test_objectives_that_compare_users_with_items_refuse_word_counts() -> None:
    counted = ["encoder.model=tfidf", "reducer.method=none"]
    with pytest.raises(RecipeError, match="'soft_items' compares the two"):
        load_recipe("beauty_sasrec_profile", [*counted, "objectives=[{name='soft_items'}]"])
    assert load_recipe("beauty_sasrec_profile", [*counted, "objectives=[{name='near_items'}]"]).encoder.model == TFIDF
    with pytest.raises(RecipeError, match="different vector spaces"):
        read_ctr_file("ml1m", {"encoder.model": TFIDF})
