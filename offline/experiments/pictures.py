"""Differences with their intervals, drawn: by arm, and by slice."""

from pathlib import Path
from typing import Any

import numpy as np

_SIZE_PER_ROW = 0.32


def draw_differences(rows: list[dict[str, Any]], labels: list[str], title: str, path: Path) -> None:
    """One line a row: the difference to the baseline in per cent of it, with its 95 % interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 + _SIZE_PER_ROW * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)  # no display is needed, and no state is shared
    axes = figure.subplots()
    base = np.array([row["baseline"] or np.nan for row in rows])
    middle, low, high = (np.array([row[key] for row in rows]) / base * 100 for key in ("difference", "low", "high"))
    places = np.arange(len(rows))[::-1]
    axes.errorbar(middle, places, xerr=[(middle - low).clip(0), (high - middle).clip(0)], fmt="o", capsize=3)
    axes.axvline(0.0, color="grey", linewidth=0.8)
    axes.set_yticks(places, labels)
    axes.set(xlabel="difference to the baseline in NDCG@10, % (95 %)", title=title)
    figure.savefig(path, dpi=120)
