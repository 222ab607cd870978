"""Vectors of items: of their title and text, or of several views that are encoded apart, weighted and concatenated.

One string of title and knowledge blurs both: an encoder's mean over sixty tokens forgets exact names, and word counts
forget which part a word is from. Views keep them apart, and validation chooses their weights.

Shapes: M items with at least one text, V items with a text of one view, E width of one view.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.embeddings.encoder import encode_texts
from retort.offline.embeddings.encoder_config import EncoderConfig, ViewConfig, ViewText
from retort.offline.embeddings.tfidf import TFIDF, tfidf_vectors
from retort.offline.embeddings.vectors import FloatArray, Vectors, normalize_rows
from retort.shared.base.errors import ProfileError

_CONTROL_SEED = 42
_COLUMNS: dict[ViewText, tuple[str, ...]] = {
    "title": ("title",),
    "text": ("text",),
    "titled": ("title", "text"),
    "knowledge": (KNOWLEDGE,),
    "all": ("title", "text", KNOWLEDGE),
}


def encode_items(items: Items, config: EncoderConfig, progress: Progress, cache_path: Path | None = None) -> Vectors:
    """Encode the texts of each item; items that have none get no vector and are reported.

    Returns:
        Vectors of length 1: of title and text, or of the concatenated `[[encoder.views]]`, where an item without the
        text of a view has zeros in its part.

    Raises:
        ProfileError: No item has a text, or no item has the text of a view.
    """
    views = config.views or (ViewConfig(model=config.model),)
    texts = [view_texts(items, view.text).to_list() for view in views]
    ids = items.frame["item_id"].to_list()
    with_text = [row for row in range(len(ids)) if any(of_view[row] for of_view in texts)]
    if lacking := len(ids) - len(with_text):
        named = "neither title nor text" if not config.views else "no text that a view reads"
        progress.say(f"{lacking} of {len(ids)} items have {named} and get no vector")
    if not with_text:
        raise ProfileError("no item has a title or a text to encode; name their columns in [data].")
    mine = [[of_view[row] for row in with_text] for of_view in texts]
    if not config.views:
        vectors = encode_texts(mine[0], config, progress, "passage", cache_path).vectors
    else:
        parts = [
            _encode_view(view, of_view, config, progress, cache_path) for view, of_view in zip(views, mine, strict=True)
        ]
        vectors = normalize_rows(np.concatenate(parts, axis=1))
    return Vectors([ids[row] for row in with_text], vectors)


def view_texts(items: Items, text: ViewText) -> pl.Series:
    """Return the text of each item that a view reads; "" where there is none."""
    frame = items.frame.with_columns(items.knowledge.alias(KNOWLEDGE))
    joined = pl.concat_str(*_COLUMNS[text], separator=". ", ignore_nulls=True).str.strip_chars(" .")
    return frame.select(text=joined.fill_null(""))["text"]


def whiten_rows(vectors: FloatArray, width: int | None, power: float) -> FloatArray:
    """Return the first principal components (V, width) of centred vectors (V, E), partially whitened.

    Args:
        vectors: Rows of vectors.
        width: Number of components; None: all of the vectors' rank.
        power: Each component is divided by its deviation to this power; 0: PCA, 1: full whitening.
    """
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = [index for index in np.argsort(-variances)[:width] if variances[index] > 1e-12]
    components: FloatArray = (centred @ directions[:, kept] / variances[kept] ** (power / 2)).astype(np.float32)
    return components


def _encode_view(
    view: ViewConfig, texts: Sequence[str], config: EncoderConfig, progress: Progress, cache_path: Path | None
) -> FloatArray:
    """Return one view's part (M, E) of the vectors: rows as long as the view's weight, zero without a text."""
    present = np.array([bool(text) for text in texts])
    if not present.any():
        raise ProfileError(
            f'no item has the text of the view text = "{view.text}"; '
            + ("add [knowledge] to the recipe." if view.text == "knowledge" else "name its column in [data].")
        )
    mine = [text for text in texts if text]
    if view.model == TFIDF:
        progress.say(f'the view "{view.text}" uses no language model: {TFIDF}')
        vectors = tfidf_vectors(mine, view.width) if view.width else tfidf_vectors(mine)
    else:
        one_model = config.model_copy(update={"model": view.model})
        vectors = encode_texts(mine, one_model, progress, "passage", cache_path).vectors
    if view.whiten is not None or (view.width or vectors.shape[1]) < vectors.shape[1]:
        vectors = whiten_rows(vectors, view.width, view.whiten or 0.0)
    part = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
    part[present] = _controlled(normalize_rows(vectors), view) * view.weight
    return part


def _controlled(vectors: FloatArray, view: ViewConfig) -> FloatArray:
    """Return the vectors, or in a control those of other items or noise."""
    random = np.random.default_rng(_CONTROL_SEED)
    match view.control:
        case "shuffled":
            order = random.permutation(len(vectors))
            whose = np.empty_like(order)
            # one cycle: a plain permutation would leave some items their own text
            whose[order] = np.roll(order, 1)
            return vectors[whose]
        case "gaussian":
            noise = random.normal(vectors.mean(axis=0), vectors.std(axis=0), vectors.shape)
            return normalize_rows(noise.astype(np.float32))
        case _:
            return vectors
