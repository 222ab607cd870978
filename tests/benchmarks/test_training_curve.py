"""The curve of a training decides when programs of the benchmark are evaluated and when they end."""

from benchmarks.training_curve import Curve


def test_evaluations_are_apart_and_the_end_of_the_budget_is_evaluated() -> None:
    curve = Curve(every_s=10, patience=5, limit_s=25)
    evaluated = []
    for seconds in (4, 9, 12, 15, 23, 26):
        if curve.is_due(seconds):
            curve.add(seconds, 0.1)
            evaluated.append(seconds)
    assert evaluated == [12, 23, 26]
    assert curve.has_ended(26)


def test_a_training_ends_when_patience_runs_out_after_its_best_point() -> None:
    curve = Curve(every_s=1, patience=2, limit_s=100)
    assert not curve.has_ended(0)
    improved = [curve.add(seconds, value) for seconds, value in enumerate((0.1, 0.3, 0.3, 0.2), start=1)]
    assert improved == [True, True, False, False]
    assert curve.best == (2, 0.3), "an equal later point is no improvement"
    assert curve.has_ended(4)
    assert not Curve(1, 2, 100, curve.points[:3]).has_ended(3)
