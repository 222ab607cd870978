"""Word counts in place of a language model: TF-IDF and truncated SVD, fitted on the very texts that it encodes.

A control, not an encoder to recommend: nothing of what it brings was learnt anywhere but on these texts.
Each call fits a space of its own, so vectors of two calls (users', items') cannot be compared with each other.
"""

from collections.abc import Sequence

import numpy as np

from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.errors import ProfileError

TFIDF = "tfidf"
_WIDTH = 384  # as wide as the packaged encoder's vectors, so that both leave a reducer the same choice
_SEED = 42


def tfidf_vectors(texts: Sequence[str]) -> FloatArray:
    """(len(texts), E) float32 of length 1, E ≤ 384; texts without a single known word get the mean direction."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        counts = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode").fit_transform(texts)
    except ValueError:
        raise ProfileError(
            f"none of the {len(texts)} texts holds a word of two letters; tfidf cannot tell them apart."
        ) from None
    width = min(_WIDTH, *(side - 1 for side in counts.shape))
    if width < 1:
        raise ProfileError(f"tfidf wants two texts and two words at least; here are {counts.shape}.")
    vectors = TruncatedSVD(width, random_state=_SEED).fit_transform(counts)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = vectors.mean(axis=0, keepdims=True)
    vectors = np.where(lengths > 1e-9, vectors, mean)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return (vectors / lengths).astype(np.float32)
