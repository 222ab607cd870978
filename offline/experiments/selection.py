"""Which part of an experiment is to be done this time; the rest waits for another."""

from collections.abc import Sequence
from dataclasses import dataclass

from retort.offline.experiments.plan import Plan
from retort.shared.base.errors import RetortError


@dataclass(frozen=True)
class Selection:
    """Some arms, some students, the first so many seeds. None: all of them."""

    arms: Sequence[str] | None = None
    students: Sequence[str] | None = None
    n_seeds: int | None = None

    def rows(self, plan: Plan) -> list[tuple[str, str]]:
        """(arm, student) as in the table; RetortError for a name that the plan has not."""
        _check("arm", self.arms, list(plan.arms))
        _check("student", self.students, plan.students)
        return [
            (arm, student)
            for arm, student in plan.rows
            if (self.arms is None or arm in self.arms) and (self.students is None or student in self.students)
        ]

    def seeds(self, plan: Plan) -> list[int]:
        return plan.config.seeds[: self.n_seeds]


def _check(what: str, asked: Sequence[str] | None, known: Sequence[str]) -> None:
    if odd := sorted(set(asked or ()) - set(known)):
        raise RetortError(f"there is no {what} {odd[0]!r}; {what}s are: {', '.join(known)}.")
