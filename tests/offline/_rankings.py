"""Comparison of two rankings whose scores come from different kernels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def assert_same_ranking(
    one: tuple[NDArray[Any], NDArray[Any]], other: tuple[NDArray[Any], NDArray[Any]], tolerance: float = 1e-5
) -> None:
    """Assert that two (items, scores) of one list agree; items nearer than the tolerance may change places.

    Rounding decides the order of near ties, and the processor decides the rounding.
    """
    (items, scores), (others, other_scores) = one, other
    np.testing.assert_allclose(scores, other_scores, rtol=tolerance, atol=tolerance / 10)
    where = {int(item): place for place, item in enumerate(others)}
    for place in np.flatnonzero(items != others):
        # an item that the other list lacks ties with that list's last one
        there = other_scores[where.get(int(items[place]), -1)]
        np.testing.assert_allclose(scores[place], there, rtol=tolerance, atol=tolerance / 10)
