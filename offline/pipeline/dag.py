"""The offline line as a list of steps: which are needed, in what order, what each depends on, and how one is done.

The steps themselves stand in `offline/pipeline/`. Here is only how any step is named, skipped and performed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from retort.offline.common.progress import Progress
from retort.offline.pipeline.artifact_store import Finished, RunDir, hash_code
from retort.shared.base.errors import RetortError

Queue = Literal["cpu", "gpu-train", "gpu-llm"]
C = TypeVar("C")


@dataclass(frozen=True)
class Step(Generic[C]):
    """One step: a function from files to files, and all that its outcome depends on.

    config: the part of the recipe that shapes it, as JSON. needs: steps whose files it reads. code: its modules.
    resumes: it can go on from a half-done directory. kept: False for a step that acts elsewhere (publish): always done.
    """

    name: str
    act: Callable[["Line[C]", Path], None]
    needs: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    queue: Queue = "cpu"
    resumes: bool = False
    kept: bool = True


class Line(Generic[C]):
    """Steps over one run directory. `context` is what the steps' functions need to know."""

    def __init__(self, steps: Sequence[Step[C]], context: C, run_dir: RunDir, progress: Progress) -> None:
        self.steps = {step.name: step for step in steps}
        self.context = context
        self.run_dir = run_dir
        self.progress = progress
        self._finished: dict[str, Finished] = {}

    def path(self, name: str) -> Path:
        """The directory of a finished step."""
        return self.do(name).path

    def do(self, name: str) -> Finished:
        """The step's finished work: found, or done now after everything it needs."""
        if name not in self.steps:
            raise RetortError(f"this run has no step {name!r}; its steps are: {', '.join(self.steps)}.")
        if name not in self._finished:
            self._finished[name] = self._do(self.steps[name])
        return self._finished[name]

    def _do(self, step: Step[C]) -> Finished:
        fingerprint = self.fingerprint(step)
        if not step.kept:
            step.act(self, self.run_dir.root)
            return Finished(step.name, self.run_dir.root, "", skipped=False)
        return self.run_dir.perform(
            step.name, fingerprint, lambda work: step.act(self, work), resumes=step.resumes, progress=self.progress
        )

    def fingerprint(self, step: Step[C]) -> dict[str, Any]:
        """Everything that shapes the step's files; does what it needs first."""
        return {
            "config": dict(step.config),
            "inputs": {need: self.do(need).output for need in step.needs},
            "code": hash_code(step.code),
        }

    def after(self, name: str) -> Step[C] | None:
        """The step that follows, None behind the last."""
        names = list(self.steps)
        following = names.index(name) + 1
        return self.steps[names[following]] if following < len(names) else None
