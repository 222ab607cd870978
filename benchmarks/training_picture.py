"""Picture of the training benchmark's curves: validation NDCG@10 against seconds of training."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.training_programs import Measured


def draw_curves(rows: Sequence[Measured], file: Path) -> None:
    """Draw one panel for each setting; the axis of time is logarithmic, because programs differ by a factor of ten."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings = list(dict.fromkeys(row.setting for row in rows if row.curve))
    figure = Figure(figsize=(4.2 * max(len(settings), 1), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for place, setting in enumerate(settings, 1):
        axes = figure.add_subplot(1, len(settings), place)
        for row in rows:
            if row.setting == setting and row.curve:
                seconds, values = zip(*row.curve, strict=True)
                axes.plot(seconds, values, "o-", markersize=3, label=row.name)
        axes.set(xscale="log", xlabel="seconds of training", ylabel="validation NDCG@10", title=setting)
        axes.legend()
    figure.savefig(file, dpi=120)
