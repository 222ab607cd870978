"""multilingual-e5-small with its real weights, through the encoder of the product."""

from pathlib import Path

import numpy as np
import pytest

from retort.offline.common.progress import Silent
from retort.offline.embeddings.encoder import encode_texts
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.text_model import TextModel
from tests.local_models.folders import local_model

pytestmark = pytest.mark.long

# the pairs of the model's card: each query and the passage that answers it
QUERIES = ["how much protein should a female eat", "南瓜的家常做法"]
PASSAGES = [
    "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per day.",
    "1.清炒南瓜丝 原料:嫩南瓜半个 调料:葱、盐、白糖、鸡精 做法: 1、南瓜用刀薄薄的削去表面一层皮,用勺子刮去瓤",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    return local_model("multilingual-e5-small")


def test_each_query_is_nearest_to_its_own_passage(folder: Path) -> None:
    config = EncoderConfig(model=str(folder))
    queries = encode_texts(QUERIES, config, Silent(), "query").vectors
    passages = encode_texts(PASSAGES, config, Silent(), "passage").vectors
    cosines = queries @ passages.T
    assert (np.diag(cosines) > 0.85).all()
    assert (np.diag(cosines) > cosines[[0, 1], [1, 0]] + 0.08).all()


def test_prefixes_are_found_by_the_name_of_the_folder_and_change_the_vectors(folder: Path) -> None:
    found = encode_texts(QUERIES, EncoderConfig(model=str(folder)), Silent(), "query").vectors
    given = encode_texts(QUERIES, EncoderConfig(model=str(folder), prefix="query: "), Silent(), "passage").vectors
    bare = encode_texts(QUERIES, EncoderConfig(model=str(folder), prefix=""), Silent(), "query").vectors
    np.testing.assert_allclose(found, given, atol=1e-5)
    assert ((found * bare).sum(1) < 0.999).all()


def test_the_tokenizer_makes_the_tokens_of_the_original(folder: Path) -> None:
    """Counts of the package's own tokenizer, with prefix and special tokens."""
    model = TextModel(EncoderConfig(model=str(folder)), "query: ")
    texts = [QUERIES[0], PASSAGES[0], "Ünïcödé ①② ﬁne  double\tspaces"]
    counts = [len(model._model.tokenizer("query: " + text)["input_ids"]) for text in texts]
    assert counts == [12, 35, 16]
    assert model.windows(["word " * 2000]).n_cut == 1
