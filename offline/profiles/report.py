"""Report of a profile generation run: counts, and the failure shares at which the run stops."""

from collections import Counter
from dataclasses import dataclass, field

from retort.offline.profiles.store import ProfileKey
from retort.shared.base.errors import ProfileError

_ENOUGH_TO_JUDGE = 20  # profiles from which on a share of failures is meaningful


@dataclass
class ProfilesReport:
    """Counts of one run of profile generation.

    Attributes:
        keys: Keys under which the texts for the next step are stored.
        source: Hash of an imported file, which identifies its texts instead of a history hash; None: not imported.
        written: Profiles written in this run (users × aspects); so are `reused` and `failed`.
        chosen: Users who edited, pinned or erased their profile.
        not_ours: Imported profiles of users that the data do not contain.
        problems: Reason → failures.
        cached_tokens: Those of `prompt_tokens` that the server read from its cache.
        unanswered: Reason → failures that are the server's, not the user's.
        examples: Reason → its first occurrence in full, with the server's words.
        failed_users: Users who lack a profile, or an aspect of it.
        what: The kind of text, for messages.
    """

    backend: str
    what: str = field(default="profile", kw_only=True)
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
    cached_tokens: int = 0
    seconds: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    failed_users: set[str] = field(default_factory=set)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Names of the models that wrote the texts."""
        return ", ".join(sorted({key.model for key in self.keys}))

    def spent(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> None:
        """Add the tokens of one conversation."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cached_tokens += cached_tokens

    @property
    def coverage(self) -> float:
        """Share of the requested profiles that exist."""
        requested = self.written + self.reused + self.failed
        return (self.written + self.reused) / requested if requested else 0.0

    def stop_if_too_many_failed(self, max_failed: float, final: bool) -> None:
        """Raise ProfileError if more than `max_failed` of the profiles failed.

        Args:
            max_failed: Accepted share of failures.
            final: The run has ended; before that, a minimum number of profiles is required.
        """
        finished = self.written + self.failed
        if not self.failed or (not final and finished < _ENOUGH_TO_JUDGE):
            return
        if (share := self.failed / (finished + self.reused)) <= max_failed:
            return
        problem, count = self.problems.most_common(1)[0]
        problem = self.examples.get(problem, problem)
        if 2 * self.unanswered.total() > self.failed:
            self.stop_if_unanswered()
        raise ProfileError(
            f"the model {self.model or self.backend} gave no usable {self.what} in {self.failed} of "
            f"{finished + self.reused} cases ({share:.0%}; most often, {count} times: {problem}); "
            "try another model or prompt, or change [profiles.checks] or max_failed."
        )

    def stop_if_unanswered(self, max_share: float = 0.0) -> None:
        """Raise ProfileError if the server left more than this share of the profiles without a reply."""
        if self.unanswered.total() > max_share * (self.written + self.reused + self.failed):
            problem, _ = self.unanswered.most_common(1)[0]
            problem = self.examples.get(problem, problem)
            raise ProfileError(
                f"the server of {self.model or self.backend} did not answer for {self.unanswered.total()} {self.what}s "
                f"({problem}); check that it runs and that OPENAI_BASE_URL is its address, then run again: "
                f"finished {self.what}s are kept."
            )

    def line(self) -> str:
        """Return the report as one line of text."""
        rate = self.written / self.seconds if self.seconds else 0.0
        parts = [
            f"{self.written} profiles written, {self.reused} reused, {self.failed} failed",
            f"{self.coverage:.1%} covered",
            f"by {self.model or self.backend}",
            f"{self.prompt_tokens + self.completion_tokens:,} tokens" if self.prompt_tokens else "",
            f"{self.cached_tokens:,} of them read from the server's cache" if self.cached_tokens else "",
            f"{rate:.0f}/s" if rate else "",
            f"{self.chosen} users with a profile of their own" if self.chosen else "",
            f"{self.without_history} users without a known item" if self.without_history else "",
            f"{self.unknown_events} events of items without metadata left out" if self.unknown_events else "",
            f"{self.not_ours} imported profiles of other users left out" if self.not_ours else "",
        ]
        return ", ".join(part for part in parts if part)
