"""The pipeline as a directed acyclic graph of steps: what each step depends on, and how a step is named and run.

This module knows no particular step; `offline/pipeline/build.py` puts the steps of a recipe together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from retort.offline.common.progress import Progress
from retort.offline.pipeline.artifact_store import ArtifactStore, FinishedStep
from retort.offline.pipeline.code_hash import hash_code
from retort.shared.base.errors import RetortError

Queue = Literal["cpu", "gpu-train", "gpu-llm"]
C = TypeVar("C")


@dataclass(frozen=True)
class Step(Generic[C]):
    """A function from files to files, and everything that its output depends on.

    config: the part of the recipe that shapes the output, as JSON. needs: steps whose files it reads.
    plugins: modules that it loads by name; the rest of its code follows from the imports of `act`. resumes: it can
    continue from a half-finished directory. kept: False for a step that acts outside the store (publish); such a step
    always runs. lacks: whether a finished directory lacks something that running the step again may add.
    """

    name: str
    act: Callable[["Pipeline[C]", Path], None]
    needs: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    queue: Queue = "cpu"
    resumes: bool = False
    kept: bool = True
    lacks: Callable[["Pipeline[C]", Path], bool] | None = None


class Pipeline(Generic[C]):
    """The steps of a run over one artifact store. `context`: what the functions of the steps need to know."""

    def __init__(self, steps: Sequence[Step[C]], context: C, store: ArtifactStore, progress: Progress) -> None:
        self.steps = {step.name: step for step in steps}
        self.context = context
        self.store = store
        self.progress = progress
        self._finished: dict[str, FinishedStep] = {}

    def ensure_path(self, name: str) -> Path:
        """The directory of a step, which runs first if it is not finished; that may train a model."""
        return self.ensure(name).path

    def ensure(self, name: str) -> FinishedStep:
        """The finished step: found in the store, or run now after everything that it needs.

        Raises:
            RetortError: This run has no such step.
        """
        if name not in self.steps:
            raise RetortError(f"this run has no step {name!r}; its steps are: {', '.join(self.steps)}.")
        if name not in self._finished:
            self._finished[name] = self._run_unless_finished(self.steps[name])
        return self._finished[name]

    def _run_unless_finished(self, step: Step[C]) -> FinishedStep:
        fingerprint = self.fingerprint(step)
        if not step.kept:
            step.act(self, self.store.root)
            return FinishedStep(step.name, self.store.root, "", skipped=False)
        return self.store.run_unless_finished(
            step.name, fingerprint, lambda work: step.act(self, work), resumes=step.resumes, progress=self.progress
        )

    def repeat_if_incomplete(self, name: str) -> FinishedStep:
        """The finished step as by `ensure`; one that lacks something is run again, once in a process."""
        finished, step = self.ensure(name), self.steps[name]
        if finished.skipped and step.lacks is not None and step.lacks(self, finished.path):
            self._finished[name] = self.store.run_again(
                name, self.fingerprint(step), lambda work: step.act(self, work), progress=self.progress
            )
        return self._finished[name]

    def complete(self, name: str) -> FinishedStep:
        """As `repeat_if_incomplete`, but where the repetition fails, the finished step is used."""
        try:
            return self.repeat_if_incomplete(name)
        except RetortError as error:
            if name not in self._finished:
                raise
            self.progress.say(f"{name}: what it lacks could not be added ({error}); the run goes on without it")
            return self._finished[name]

    def fingerprint(self, step: Step[C]) -> dict[str, Any]:
        """Everything that shapes the step's files. Runs the steps that it needs first: their output is a part of it."""
        return {
            "config": dict(step.config),
            "inputs": {need: self.ensure(need).output for need in step.needs},
            "code": self.code(step),
        }

    def code(self, step: Step[C]) -> str:
        """Hash of the code behind a step."""
        return hash_code(step.act, step.plugins)

    def step_after(self, name: str) -> Step[C] | None:
        """The step that follows; None after the last."""
        names = list(self.steps)
        following = names.index(name) + 1
        return self.steps[names[following]] if following < len(names) else None
