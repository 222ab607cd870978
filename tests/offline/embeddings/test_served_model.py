"""Text vectors of an embeddings server: order, prefix, cache, batches, retries and what a server may get wrong."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retort.offline.common.progress import Silent
from retort.offline.embeddings.encoder import encode_texts
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.shared.base.errors import ProfileError
from tests.offline.embeddings._server import Script, embedding_server, vector, vectors

TEXTS = ["a a b", "b", "c c a", "a"]


def encode(
    monkeypatch: pytest.MonkeyPatch, script: Script, texts: list[str] = TEXTS, cache: Path | None = None, **config: Any
) -> tuple[Any, list[dict[str, Any]], list[dict[str, str]]]:
    config = {"model": "served:letters", "server": {"backoff_s": 0.0, "retries": 2}, **config}
    with embedding_server(script) as (url, bodies, headers):
        monkeypatch.setenv("EMBEDDINGS_BASE_URL", url)
        encoded = encode_texts(texts, EncoderConfig(**config), Silent(), cache_path=cache)
    return encoded.vectors, bodies, headers


def unit(text: str) -> Any:
    return np.array(vector(text)) / np.linalg.norm(vector(text))


def test_vectors_come_in_order_once_a_text_in_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBEDDINGS_API_KEY", "secret")
    cache = tmp_path / "cache.sqlite"
    found, bodies, headers = encode(monkeypatch, lambda _, body: vectors(body), [*TEXTS, "b"], cache, batch_size=3)
    assert found == pytest.approx(np.stack([unit(text) for text in [*TEXTS, "b"]]), abs=1e-6)
    assert sorted(len(body["input"]) for body in bodies) == [1, 3]
    assert {body["model"] for body in bodies} == {"letters"}
    assert headers[0]["authorization"] == "Bearer secret"
    again, bodies, _ = encode(monkeypatch, lambda _, body: vectors(body), [*TEXTS, "new"], cache, batch_size=3)
    assert [body["input"] for body in bodies] == [["new"]]
    assert again[:4] == pytest.approx(found[:4])


def test_a_prefix_is_added_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, bodies, _ = encode(monkeypatch, lambda _, body: vectors(body), ["b"], model="served:org/multilingual-e5-small")
    assert bodies[0]["input"] == ["query: b"]
    _, bodies, _ = encode(monkeypatch, lambda _, body: vectors(body), ["b"], model="served:e5-small", prefix="")
    assert bodies[0]["input"] == ["b"]


def test_long_texts_are_the_mean_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    found, bodies, _ = encode(monkeypatch, lambda _, body: vectors(body), ["a " * 10 + "b " * 10], max_tokens=12)
    assert bodies[0]["input"] == [" ".join("a" * 10), " ".join("b" * 10)]
    mean = unit("a" * 10) + unit("b" * 10)
    assert found[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_passing_faults_are_retried_and_large_batches_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(number: int, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        faults = {
            0: (429, {"error": {"message": "slow down"}}, {"Retry-After": "0"}),
            1: (200, {"data": "cut"}, {}),
        }
        if number in faults:
            return faults[number]
        if len(body["input"]) > 2:
            return 413, {"error": "batch size 4 > maximum allowed batch size 2"}, {}
        return vectors(body)

    found, bodies, _ = encode(monkeypatch, script)
    assert found == pytest.approx(np.stack([unit(text) for text in TEXTS]), abs=1e-6)
    assert [len(body["input"]) for body in bodies] == [4, 4, 4, 2, 2]


def test_base64_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = base64.b64encode(np.array([3.0, 4.0], dtype="<f4").tobytes()).decode()
    found, _, _ = encode(monkeypatch, lambda *_: (200, {"data": [{"index": 0, "embedding": packed}]}, {}), ["b"])
    assert found[0] == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    ("embedding", "words"),
    [
        ([0.0, 0.0], "of zeros alone"),
        ([[1.0], [2.0]], "with pooling"),
        ([], "no embeddings|not one vector"),
        (None, "no embeddings|not one vector"),
    ],
)
def test_what_is_no_vector_is_refused(monkeypatch: pytest.MonkeyPatch, embedding: Any, words: str) -> None:
    answer = (200, {"data": [{"index": 0, "embedding": embedding}]}, {})
    with pytest.raises(ProfileError, match=words):
        encode(monkeypatch, lambda *_: answer, ["b"])


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, {"error": "no"}, "EMBEDDINGS_API_KEY"),
        (404, {"error": {"message": "unknown model"}}, "unknown model.*EMBEDDINGS_BASE_URL"),
        (422, {"error": "inputs must have less than 512 tokens"}, "512 tokens.*max_tokens"),
        (500, {"error": "out of memory"}, "500: out of memory, after 3 attempts"),
        (200, {"data": [{"index": 1, "embedding": [1.0]}]}, "indexes"),
    ],
)
def test_faults_name_the_remedy(monkeypatch: pytest.MonkeyPatch, status: int, answer: Any, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        encode(monkeypatch, lambda *_: (status, answer, {}), ["b"])


def test_widths_are_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"dimensions is 8"):
        encode(monkeypatch, lambda _, body: vectors(body), server={"dimensions": 8})
    cache = tmp_path / "cache.sqlite"
    encode(monkeypatch, lambda _, body: vectors(body), ["b"], cache)
    other = (200, {"data": [{"index": 0, "embedding": [1.0, 2.0]}]}, {})
    with pytest.raises(ProfileError, match="vectors of 2 and of 3 numbers"):
        encode(monkeypatch, lambda *_: other, ["b", "new"], cache)


def test_the_key_of_the_language_model_stays_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-another-host")
    _, _, headers = encode(monkeypatch, lambda _, body: vectors(body), ["b"])
    assert "authorization" not in headers[0]
    monkeypatch.delenv("EMBEDDINGS_BASE_URL")
    with pytest.raises(ProfileError, match="set EMBEDDINGS_BASE_URL"):
        encode_texts(["b"], EncoderConfig(model="served:letters"), Silent())
