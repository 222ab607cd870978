"""Conversations with a language model: many at once, in rounds; a rejected reply is requested again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from retort.offline.profiles.backends._base import Message, ProfileBackend, Prompt, Reply
from retort.offline.profiles.prompt_plan import PromptPlan
from retort.shared.base.errors import ProfileError


class Judgement(NamedTuple):
    """Result of checking a reply: the text to keep, its problem (None: accepted) and its faithfulness score."""

    text: str
    problem: str | None
    faithfulness: float | None = None


# Checks a reply: (number of the conversation, prompt, raw text).
Judge = Callable[[int, Prompt, str], Judgement]


class Outcome(NamedTuple):
    """Result of a conversation: a text, or the reason why there is none.

    Attributes:
        conversation: Position in the list of plans.
        faithfulness: Score of the last text, 0 … 1; None: unknown.
        rejected: Text of the last refused reply, to be read by people; it is no profile.
        unanswered: The server never replied. This says nothing about the user, so it is not stored as a failure.
        cached_tokens: Those of `prompt_tokens` that the server read from its cache.
    """

    conversation: int
    text: str | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    faithfulness: float | None = None
    unanswered: bool = False
    rejected: str | None = None
    cached_tokens: int = 0


@dataclass
class _Conversation:
    """State of a conversation: prompts, accepted texts (None: no accepted reply yet) and used tokens."""

    number: int
    plan: PromptPlan
    prompts: list[Prompt] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    faithfulness: float | None = None
    outcome: Outcome | None = None

    def advance(self) -> None:
        """Send the accepted texts to the plan, which yields the next prompts or ends."""
        try:
            # a generator is started by next(): there are no texts yet
            prompts = self.plan.send([text or "" for text in self.texts]) if self.prompts else next(self.plan)
            self.prompts, self.texts = list(prompts), [None] * len(prompts)
        except StopIteration as ended:
            self.end(ended.value, None)
        except ProfileError as error:
            self.end(None, str(error))

    def end(
        self, text: str | None, error: str | None, *, unanswered: bool = False, rejected: str | None = None
    ) -> None:
        """Set the outcome; of later replies only the tokens are counted."""
        faithfulness = None if text is None else self.faithfulness
        self.outcome = Outcome(
            self.number, text, error, self.prompt_tokens, self.completion_tokens, faithfulness, unanswered,
            rejected, self.cached_tokens,
        )  # fmt: skip
        self.plan.close()

    def receive(self, slot: int, reply: Reply, judge: Judge, attempts: int) -> None:
        """Process the reply to prompt `slot`: accept it, prepare the next attempt, or end the conversation."""
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0
        self.cached_tokens += reply.cached_tokens or 0
        if self.outcome is not None:
            return
        prompt = self.prompts[slot]
        judged = Judgement(reply.text, reply.error) if reply.error else judge(self.number, prompt, reply.text)
        problem = judged.problem
        if problem is None:
            self.texts[slot], self.faithfulness = judged.text, judged.faithfulness
            if all(text is not None for text in self.texts):
                self.advance()
        elif reply.final or prompt.attempt + 1 >= attempts:
            self.end(None, problem, unanswered=reply.unanswered, rejected=judged.text or None)
        else:
            self.prompts[slot] = _next_attempt(prompt)


def _next_attempt(prompt: Prompt) -> Prompt:
    return replace(prompt, attempt=prompt.attempt + 1)


def _with_tokens(reply: Reply, prompt: Prompt, backend: ProfileBackend) -> Reply:
    """Count the tokens of a reply whose server states none; otherwise no budget would bind."""
    if reply.final and not reply.text:
        return reply  # refused, waiting or unanswered: nothing was generated
    n_prompt, n_reply = reply.prompt_tokens, reply.completion_tokens
    if n_prompt is None:
        n_prompt = backend.count_tokens(prompt.messages)
    if n_reply is None and reply.text:
        n_reply = backend.count_tokens([Message(role="assistant", content=reply.text)])
    return replace(reply, prompt_tokens=n_prompt, completion_tokens=n_reply)


def run_conversations(
    plans: Sequence[PromptPlan],
    backend: ProfileBackend,
    judge: Judge,
    attempts: int,
    on_finished: Callable[[list[Outcome]], None],
) -> None:
    """Run all conversations to their end.

    Args:
        plans: One prompt plan for each conversation.
        judge: Checks each reply.
        attempts: How often a prompt is sent until a reply is accepted, the first time included.
        on_finished: Called with the outcomes of conversations as soon as they end, so that each is stored at once.

    Raises:
        ProfileError: The backend left prompts without a reply.
    """
    conversations = [_Conversation(number, plan) for number, plan in enumerate(plans)]
    for conversation in conversations:
        conversation.advance()
    on_finished([conversation.outcome for conversation in conversations if conversation.outcome])
    while live := [conversation for conversation in conversations if conversation.outcome is None]:
        _run_round(live, backend, judge, attempts, on_finished)


def _run_round(
    live: list[_Conversation],
    backend: ProfileBackend,
    judge: Judge,
    attempts: int,
    on_finished: Callable[[list[Outcome]], None],
) -> None:
    """Send every open prompt once."""
    open_slots = [
        (conversation, slot) for conversation in live for slot, text in enumerate(conversation.texts) if text is None
    ]
    answered: set[int] = set()

    def on_replies(replies: Sequence[tuple[int, Reply]]) -> None:
        ended = []
        for at, reply in replies:
            reply = _with_tokens(reply, open_slots[at][0].prompts[open_slots[at][1]], backend)
            answered.add(at)
            conversation, slot = open_slots[at]
            had_ended = conversation.outcome is not None
            conversation.receive(slot, reply, judge, attempts)
            if conversation.outcome is not None and not had_ended:
                ended.append(conversation.outcome)
        on_finished(ended)

    backend.write([conversation.prompts[slot] for conversation, slot in open_slots], on_replies)
    if len(answered) != len(open_slots):
        raise ProfileError(
            f"the backend of {backend.model} answered {len(answered)} of {len(open_slots)} prompts; "
            "this is an error in the backend, not in the data; correct the backend."
        )
