"""Curve of validation NDCG@10 against seconds of training, with early stopping; read by peers' interpreters too."""

from dataclasses import dataclass, field


@dataclass
class Curve:
    """Points of one training; evaluation does not count as training.

    Attributes:
        every_s: Seconds of training between evaluations.
        patience: Evaluations without a better one before the training ends.
        limit_s: Most seconds of training.
        points: (seconds, NDCG@10).
    """

    every_s: float
    patience: int
    limit_s: float
    points: list[tuple[float, float]] = field(default_factory=list)

    def is_due(self, seconds: float) -> bool:
        """Return whether to evaluate now; the end of the budget is always evaluated."""
        last_s = self.points[-1][0] if self.points else 0.0
        return seconds - last_s >= self.every_s or seconds >= self.limit_s

    def add(self, seconds: float, ndcg: float) -> bool:
        """Add a point; return whether it is the best so far."""
        is_best = not self.points or ndcg > self.best[1]
        self.points.append((round(seconds, 2), ndcg))
        return is_best

    @property
    def best(self) -> tuple[float, float]:
        """The point of the highest NDCG@10."""
        return max(self.points, key=lambda point: point[1])

    def has_ended(self, seconds: float) -> bool:
        """Return whether the budget is spent or patience has run out."""
        since_best = len(self.points) - 1 - self.points.index(self.best) if self.points else 0
        return seconds >= self.limit_s or since_best >= self.patience
