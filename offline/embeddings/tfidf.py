"""TF-IDF vectors with truncated SVD, fitted on the texts to encode: a baseline without a language model.

Compared with an encoder it shows what pretraining contributes. Each call fits its own space, so vectors of two calls
(users', items') cannot be compared with each other.
"""

from collections.abc import Sequence

import numpy as np

from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.errors import ProfileError

TFIDF = "tfidf"
DEFAULT_WIDTH = 384  # width of the packaged encoder's vectors, so that a reducer can treat both alike
_SEED = 42


def tfidf_vectors(texts: Sequence[str], width: int = DEFAULT_WIDTH) -> FloatArray:
    """Encode texts by word counts.

    Args:
        texts: Texts to encode.
        width: Largest width E; a narrow one forgets rare words.

    Returns:
        (len(texts), E) float32 of length 1, E ≤ width; a text without any known word gets the mean direction.

    Raises:
        ProfileError: The texts have too few words.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        counts = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode").fit_transform(texts)
    except ValueError:
        raise ProfileError(
            f"none of the {len(texts)} texts contains a word of two letters, so tfidf cannot distinguish them; choose "
            "another [encoder] model."
        ) from None
    width = min(width, *(side - 1 for side in counts.shape))
    if width < 1:
        raise ProfileError(
            f"tfidf requires at least two texts and two words, but got {counts.shape}; choose another [encoder] model."
        )
    vectors = TruncatedSVD(width, random_state=_SEED).fit_transform(counts)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = vectors.mean(axis=0, keepdims=True)
    vectors = np.where(lengths > 1e-9, vectors, mean)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return (vectors / lengths).astype(np.float32)
