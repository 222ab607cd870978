"""What happened while profiles were written, and when it is bad enough to stop."""

from collections import Counter
from dataclasses import dataclass, field

from retort.offline.profiles.store import ProfileKey
from retort.shared.base.errors import ProfileError

_ENOUGH_TO_JUDGE = 20  # conversations after which a share of failures means something


@dataclass
class ProfilesReport:
    """Counts of one run. written, reused and failed count profiles: users times aspects; chosen: users who
    decided for themselves; unanswered: problems that are the server's, not the user's; failed_users: who lacks a
    profile or an aspect of it.

    questions: what the texts of the next step are stored under; sources: hash of an imported file, by which its texts
    are found in place of the history's hash.
    """

    backend: str
    keys: list[ProfileKey] = field(default_factory=list)
    source: str | None = None
    users: int = 0
    without_history: int = 0
    unknown_events: int = 0
    written: int = 0
    reused: int = 0
    failed: int = 0
    chosen: int = 0
    not_ours: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    failed_users: set[str] = field(default_factory=set)

    @property
    def model(self) -> str:
        """Who wrote the texts."""
        return ", ".join(sorted({key.model for key in self.keys}))

    def spent(self, prompt_tokens: int, completion_tokens: int) -> None:
        """One conversation is paid for."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    @property
    def coverage(self) -> float:
        """Share of the profiles that were wanted and are there."""
        wanted = self.written + self.reused + self.failed
        return (self.written + self.reused) / wanted if wanted else 0.0

    def stop_if_too_many_failed(self, max_failed: float, final: bool) -> None:
        """Raises ProfileError where the model fails for most users; early only when enough of them were asked."""
        answered = self.written + self.failed
        if not self.failed or (not final and answered < _ENOUGH_TO_JUDGE):
            return
        if (share := self.failed / (answered + self.reused)) <= max_failed:
            return
        problem, count = self.problems.most_common(1)[0]
        if 2 * self.unanswered.total() > self.failed:
            self.stop_if_unanswered()
        raise ProfileError(
            f"the model {self.model or self.backend} gave no usable profile in {self.failed} of "
            f"{answered + self.reused} cases ({share:.0%}; most often, {count} times: {problem}); "
            "try another model or prompt, or change [profiles.checks] or max_failed."
        )

    def stop_if_unanswered(self, bearable: float = 0.0) -> None:
        """Raises ProfileError where the model's server left more than this share without an answer; asking later may
        help."""
        if self.unanswered.total() > bearable * (self.written + self.reused + self.failed):
            problem, _ = self.unanswered.most_common(1)[0]
            raise ProfileError(
                f"the server of {self.model or self.backend} did not answer for {self.unanswered.total()} profiles "
                f"({problem}); see that it runs and that OPENAI_BASE_URL is its address, then try again: "
                "what was answered is kept."
            )

    def line(self) -> str:
        """One line for a person."""
        rate = self.written / self.seconds if self.seconds else 0.0
        parts = [
            f"{self.written} profiles written, {self.reused} reused, {self.failed} failed",
            f"{self.coverage:.1%} covered",
            f"by {self.model or self.backend}",
            f"{self.prompt_tokens + self.completion_tokens:,} tokens" if self.prompt_tokens else "",
            f"{rate:.0f}/s" if rate else "",
            f"{self.chosen} users decided for themselves" if self.chosen else "",
            f"{self.without_history} users without a known item" if self.without_history else "",
            f"{self.unknown_events} events of items without metadata left out" if self.unknown_events else "",
            f"{self.not_ours} imported profiles of other users left out" if self.not_ours else "",
        ]
        return ", ".join(part for part in parts if part)
