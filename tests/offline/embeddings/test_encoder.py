"""Text encoding: once with a real model, else with a model of predictable vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.embeddings import text_model
from retort.offline.embeddings.encoder import encode_profiles, encode_texts
from retort.offline.embeddings.encoder_config import EncoderConfig, prefix_for
from retort.offline.embeddings.item_vectors import encode_items
from retort.offline.embeddings.reduction_quality import measure_reduction
from retort.shared.base.errors import ProfileError
from tests.offline.profiles._fakes import GOOD


class FakeTokenizer:
    """A token a word, one special token at each end."""

    def __call__(self, texts: str | list[str], **options: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": [0, *range(len(texts.split())), 0]}
        assert options["add_special_tokens"] is False
        return {"offset_mapping": [self._spans(text) for text in texts]}

    @staticmethod
    def _spans(text: str) -> list[tuple[int, int]]:
        spans, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            spans.append((at, at + len(word)))
            at += len(word)
        return spans


class FakeModel:
    """Vector of a text: how often it says a, b and c, of length 1."""

    tokenizer = FakeTokenizer()
    max_seq_length = 12

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str], **options: Any) -> np.ndarray[Any, Any]:
        assert options["normalize_embeddings"]
        assert all(len(text.split()) + 2 <= self.max_seq_length for text in texts)
        self.texts += texts
        counts = np.array([[text.split().count(word) for word in "abc"] for text in texts], dtype=np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    fake = FakeModel()
    monkeypatch.setattr(text_model, "load_encoder", lambda _: fake)
    return fake


def test_packaged_model_really_encodes_without_a_network() -> None:
    texts = [GOOD, "The user loves dark horror films.", GOOD, "A person who enjoys scary movies.", f"{GOOD} " * 12]
    encoded = encode_texts(texts, EncoderConfig(batch_size=2), Silent())
    vectors, report = encoded.vectors, encoded.report
    assert (vectors.shape, vectors.dtype) == ((5, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    assert vectors[1] @ vectors[3] > vectors[1] @ vectors[0]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert vectors[4] @ vectors[0] > vectors[4] @ vectors[1] + 0.2
    assert (report.n_texts, report.n_distinct, report.n_cut, report.width) == (5, 4, 1, 384)
    assert report.n_windows > 4


def test_a_model_of_word_vectors_reads_any_length(tmp_path: Path) -> None:
    words = ["drama", "war", "comedy"]
    folder = save_word_vectors(tmp_path / "words", words)
    config = EncoderConfig(model=str(folder), device="cpu")
    vectors = encode_texts(["drama war", "drama " * 5000, "comedy"], config, Silent()).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[1], np.eye(3)[0], atol=1e-6)
    np.testing.assert_allclose(vectors[0], [0.5**0.5, 0.5**0.5, 0], atol=1e-6)
    with pytest.raises(ProfileError, match="has no length limit; remove"):
        encode_texts(["drama"], config.model_copy(update={"max_tokens": 64}), Silent())


def save_word_vectors(folder: Path, words: Sequence[str]) -> Path:
    """A static model, such as those distilled from a large model's word embeddings: one vector a word."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    static = StaticEmbedding(tokenizer, embedding_weights=torch.eye(len(words)))
    SentenceTransformer(modules=[static], device="cpu").save(str(folder))
    return folder


def test_long_text_is_the_mean_of_its_windows(model: FakeModel) -> None:
    encoded = encode_texts(["a " * 10 + "b " * 10, "c"], EncoderConfig(), Silent())
    np.testing.assert_allclose(encoded.vectors, [[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]], atol=1e-6)
    assert (encoded.report.n_cut, encoded.report.n_windows) == (1, 3)
    assert sorted(len(text.split()) for text in model.texts) == [1, 10, 10]


def test_windows_cover_the_text_evenly(model: FakeModel) -> None:
    words = ["abc"[at % 3] for at in range(41)]
    encode_texts([" ".join(words)], EncoderConfig(), Silent())
    assert " ".join(model.texts).split() == words
    assert {len(text.split()) for text in model.texts} <= {8, 9}


def test_truncation_is_counted(model: FakeModel) -> None:
    encoded = encode_texts(["a " * 10 + "b " * 10], EncoderConfig(long_texts="truncate"), Silent())
    np.testing.assert_allclose(encoded.vectors, [[1, 0, 0]])
    assert encoded.report.n_cut == 1
    assert "truncated" in encoded.report.line("truncate")


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ("intfloat/multilingual-e5-large", "query: ", "passage: "),
        ("models/e5-small-v2/", "query: ", "passage: "),
        ("intfloat/multilingual-e5-large-instruct", "", ""),
        ("packaged-minilm", "", ""),
        ("hidden5/some-model", "", ""),
        ("someone5/cafe5", "", ""),
    ],
)
def test_prefix_by_family(name: str, query: str, passage: str) -> None:
    config = EncoderConfig(model=name)
    assert (prefix_for(config, "query"), prefix_for(config, "passage")) == (query, passage)


def test_every_window_has_the_prefix_and_fits(model: FakeModel) -> None:
    encode_texts(["a " * 30], EncoderConfig(model="intfloat/e5-base"), Silent())
    assert len(model.texts) == 4
    assert all(text.startswith("query: a") for text in model.texts)
    model.texts.clear()
    items = Items(pl.DataFrame({"item_id": ["1", "2"], "title": ["a", ""], "text": ["b c", ""]}))
    vectors = encode_items(items, EncoderConfig(model="intfloat/e5-base"), Silent())
    assert vectors.ids == ["1"]  # the other has nothing to be read
    assert model.texts == ["passage: a. b c"]


def test_equal_texts_are_encoded_once_and_cached_ones_never(model: FakeModel, tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    first = encode_texts(["a", "b", "a"], EncoderConfig(), Silent(), cache_path=cache)
    second = encode_texts(["b", "c", "a"], EncoderConfig(), Silent(), cache_path=cache)
    assert sorted(model.texts) == ["a", "b", "c"]
    np.testing.assert_array_equal(second.vectors[[2, 0]], first.vectors[:2])
    assert (first.report.n_cached, second.report.n_cached) == (0, 2)
    encode_texts(["a"], EncoderConfig(prefix="b "), Silent(), cache_path=cache)
    assert model.texts[-1] == "b a"  # another prefix is another vector


def test_killed_encoding_keeps_what_is_done(model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"a x{at}" for at in range(20)]
    whole, calls = model.encode, 0

    def dying(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(model, "encode", dying)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(texts, EncoderConfig(batch_size=1), Silent(), cache_path=tmp_path / "c")
    again = encode_texts(texts, EncoderConfig(batch_size=1), Silent(), cache_path=tmp_path / "c")
    assert again.report.n_cached == 8


def test_vectors_of_several_models_are_concatenated(model: FakeModel) -> None:
    texts = ["a a b red", "b c green", "c red green"]
    one = encode_texts(texts, EncoderConfig(model="any"), Silent())
    words = encode_texts(texts, EncoderConfig(model="tfidf"), Silent())
    both = encode_texts(texts, EncoderConfig(model="any + tfidf"), Silent())
    assert both.report.width == one.report.width + words.report.width
    np.testing.assert_allclose(both.vectors[:, :3], one.vectors / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(both.vectors[:, 3:], words.vectors / np.sqrt(2), rtol=1e-6)
    assert EncoderConfig(model="any + tfidf").uses_tfidf
    assert not EncoderConfig(model="folder/of+tfidf").uses_tfidf
    with pytest.raises(ValidationError, match="words are counted over all texts"):
        EncoderConfig(model="any + tfidf", shards=2)
    with pytest.raises(ProfileError, match="names a model twice, or an empty one"):
        encode_texts(texts, EncoderConfig(model="any + any"), Silent())


def test_aspects_are_averaged_or_concatenated(model: FakeModel) -> None:
    table = pl.DataFrame(
        [("u1", "x", "a"), ("u1", "y", "b"), ("u2", "x", "c")], schema=["user_id", "aspect", "text"], orient="row"
    )
    mean = encode_profiles(table, EncoderConfig(), Silent())
    assert mean.ids == ["u1", "u2"]
    np.testing.assert_allclose(mean.vectors, [[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]], atol=1e-6)
    side = encode_profiles(table, EncoderConfig(aspects="concat"), Silent())
    assert (side.ids, side.vectors.shape) == (["u1"], (1, 6))
    apart = encode_profiles(table, EncoderConfig(aspects="apart"), Silent())
    assert (apart.ids, apart.parts, side.parts) == (["u1"], 2, 1)
    np.testing.assert_allclose(np.linalg.norm(apart.vectors.reshape(2, 3), axis=1), 1.0, rtol=1e-6)


def test_wrong_input_is_reported(model: FakeModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="1 of 2 texts to encode are empty"):
        encode_texts(["a", " "], EncoderConfig(), Silent())
    with pytest.raises(ProfileError, match="no profile to encode"):
        encode_profiles(pl.DataFrame(schema={"user_id": str, "aspect": str, "text": str}), EncoderConfig(), Silent())
    monkeypatch.undo()
    with pytest.raises(ProfileError, match="cannot be loaded"):
        encode_texts(["a"], EncoderConfig(model=str(tmp_path)), Silent())


def test_one_vector_for_everybody_is_refused_and_equal_ones_are_not_measured() -> None:
    table = pl.DataFrame({"user_id": ["a", "b"], "aspect": "whole", "text": ["likes tea", "likes tea"]})
    with pytest.raises(ProfileError, match="all 2 users have the same vector"):
        encode_profiles(table, EncoderConfig(), Silent())
    equal = np.ones((40, 8), np.float32)
    assert measure_reduction(equal, equal[:, :2], seed=1) is None
    some = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
    quality = measure_reduction(np.concatenate([some] * 4), np.concatenate([some[:, :2]] * 4), seed=1)
    assert quality is not None
    assert "on 10 distinct vectors" in quality.line()


def test_a_model_that_is_nowhere_is_refused_after_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[str] = []

    def refuse(self: object, name: str, **options: object) -> None:
        asked.append(name)
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(ProfileError, match=r"cannot be loaded.*the hub does not answer"):
        text_model.load_encoder(EncoderConfig(model="intfloat/e5-lagre-v2"))
    assert asked == ["intfloat/e5-lagre-v2"]
