"""Many conversations with one model at once: wave by wave, each reply judged, bad ones asked for again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from retort.offline.profiles.backends._base import ProfileBackend, Prompt, Reply
from retort.offline.profiles.prompt_plan import PromptPlan
from retort.shared.base.errors import ProfileError


class Judgement(NamedTuple):
    """The text to keep, what is wrong with it (None: nothing), and how well the history carries it."""

    text: str
    problem: str | None
    grounding: float | None = None


# Judges the reply to a prompt of the conversation in that place.
Judge = Callable[[int, Prompt, str], Judgement]


class Outcome(NamedTuple):
    """How a conversation ended: a text, or the reason why there is none. grounding: of the last text.

    unanswered: the server never answered, which says nothing about the user.
    """

    job: int
    text: str | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    grounding: float | None = None
    unanswered: bool = False


@dataclass
class _Job:
    """One conversation: what it waits for, and what it has cost. Answered prompts hold their text."""

    place: int
    plan: PromptPlan
    prompts: list[Prompt] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    grounding: float | None = None
    outcome: Outcome | None = None

    def advance(self) -> None:
        """Hand the texts on; the conversation then asks more, or ends."""
        try:
            # a generator's first step takes nothing: there are no texts yet
            prompts = self.plan.send([text or "" for text in self.texts]) if self.prompts else next(self.plan)
            self.prompts, self.texts = list(prompts), [None] * len(prompts)
        except StopIteration as ended:
            self.end(ended.value, None)
        except ProfileError as error:
            self.end(None, str(error))

    def end(self, text: str | None, error: str | None, *, unanswered: bool = False) -> None:
        """Final; later replies to this job's prompts are counted, and otherwise ignored."""
        grounding = None if text is None else self.grounding
        self.outcome = Outcome(
            self.place, text, error, self.prompt_tokens, self.completion_tokens, grounding, unanswered
        )
        self.plan.close()

    def take(self, slot: int, reply: Reply, judge: Judge, attempts: int) -> None:
        """One reply has come for one of the prompts."""
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0
        if self.outcome is not None:
            return
        prompt = self.prompts[slot]
        judged = Judgement("", reply.error) if reply.error else judge(self.place, prompt, reply.text)
        problem = judged.problem
        if problem is None:
            self.texts[slot], self.grounding = judged.text, judged.grounding
            if all(one is not None for one in self.texts):
                self.advance()
        elif reply.final or prompt.attempt + 1 >= attempts:
            self.end(None, problem, unanswered=reply.unanswered)
        else:
            self.prompts[slot] = _again(prompt)


def _again(prompt: Prompt) -> Prompt:
    return Prompt(
        prompt.messages, prompt.events, prompt.task, prompt.aspect, prompt.parts, prompt.schema, prompt.attempt + 1
    )


def run_conversations(
    plans: Sequence[PromptPlan],
    backend: ProfileBackend,
    judge: Judge,
    attempts: int,
    finished: Callable[[list[Outcome]], None],
) -> None:
    """Run all conversations to their end; `finished` is told of each as soon as it is over, so that it can be kept."""
    jobs = [_Job(place, plan) for place, plan in enumerate(plans)]
    for job in jobs:
        job.advance()
    finished([job.outcome for job in jobs if job.outcome])
    while live := [job for job in jobs if job.outcome is None]:
        _wave(live, backend, judge, attempts, finished)


def _wave(
    live: list[_Job],
    backend: ProfileBackend,
    judge: Judge,
    attempts: int,
    finished: Callable[[list[Outcome]], None],
) -> None:
    waiting = [(job, slot) for job in live for slot, text in enumerate(job.texts) if text is None]
    answered: set[int] = set()

    def on_replies(replies: Sequence[tuple[int, Reply]]) -> None:
        ended = []
        for at, reply in replies:
            answered.add(at)
            job, slot = waiting[at]
            was_over = job.outcome is not None
            job.take(slot, reply, judge, attempts)
            if job.outcome is not None and not was_over:
                ended.append(job.outcome)
        finished(ended)

    backend.write([job.prompts[slot] for job, slot in waiting], on_replies)
    if len(answered) != len(waiting):
        raise ProfileError(
            f"the backend of {backend.model} answered {len(answered)} of {len(waiting)} prompts; "
            "this is a fault of the backend, not of the data."
        )
