"""How sure a mean over a few seeds is."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as students_t


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half of the 95 % interval by Student's t; no interval for one seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    spread = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return mean, float(students_t.ppf(0.975, len(values) - 1) * spread)
