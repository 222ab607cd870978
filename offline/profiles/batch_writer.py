"""One model asked about many users: only for what is missing, each answer judged and kept at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from retort.offline.common.progress import Progress
from retort.offline.profiles.backends._base import WAITING, ProfileBackend, Prompt
from retort.offline.profiles.checks import check_reply
from retort.offline.profiles.config import ProfilesConfig, combination_writer, prompt_writers
from retort.offline.profiles.conversations import Judgement, Outcome, run_conversations
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.privacy_checks import find_leak
from retort.offline.profiles.profile_tasks import PriorProfile, ProfileTask, build_tasks, combination_tasks
from retort.offline.profiles.prompt import PromptWriter
from retort.offline.profiles.prompt_plan import PromptPlan, plan_combination, plan_profile, plan_update
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileKey, ProfileStore, Record
from retort.shared.base.hashing import hash_json
from retort.shared.base.schema import MAX_ID_LENGTH

# Told after each answer that was kept; it may raise to stop the work there.
Kept = Callable[[ProfilesReport], None]


def _go_on(_report: ProfilesReport) -> None:
    """Nobody stops the work."""


@dataclass(frozen=True)
class ProfileWriter:
    """What stays the same while one model is asked about many users. `report` counts; `kept` may stop the work.

    waiting: users whose prompts lie in a batch file.
    """

    config: ProfilesConfig
    store: ProfileStore
    backend: ProfileBackend
    catalogue: Catalogue
    checker: FaithfulnessChecker
    report: ProfilesReport
    progress: Progress
    total: int | None = None
    kept: Kept = _go_on
    waiting: set[str] = field(default_factory=set)

    def key(self, writer: PromptWriter) -> ProfileKey:
        """What this writer's texts are stored under."""
        digest = hash_json(self.config.parameters)
        return ProfileKey(writer.aspect, writer.version, self.backend.model[:MAX_ID_LENGTH], digest)

    def final_keys(self) -> list[ProfileKey]:
        """What the next step reads: the combination, or each aspect."""
        whole = combination_writer(self.config)
        return [self.key(writer) for writer in ([whole] if whole is not None else prompt_writers(self.config))]

    def write_chunk(self, some: Iterable[UserHistory], priors: Mapping[str, PriorProfile] | None = None) -> None:
        """All aspects of some users, and their combination. People who decided for themselves are left alone.

        priors: user_id → profile that is carried on instead of reading the whole history; not for several aspects.
        """
        wanted = build_tasks(some, self.catalogue, self.config.max_history, self.report, priors)
        chosen = self.store.choices([one.user_id for one in wanted])
        self.report.chosen += len(chosen)
        wanted = [one for one in wanted if one.user_id not in chosen]
        aspects, whole = prompt_writers(self.config), combination_writer(self.config)
        for writer in aspects:
            self._write(writer, wanted)
        if whole is not None:
            # half of the aspects would give a combination that the other half makes worthless
            wanted = [one for one in wanted if one.user_id not in self.waiting]
            self._write(whole, combination_tasks(wanted, [self.key(writer) for writer in aspects], self.store))
        self.progress.update("profiles", self.report.users, self.total)

    def _write(self, writer: PromptWriter, wanted: Sequence[ProfileTask]) -> None:
        key = self.key(writer)
        missing = self._missing(key, wanted)
        run_conversations(
            [self._plan(writer, one) for one in missing],
            self.backend,
            lambda place, prompt, raw: self._judge(writer, missing[place], prompt, raw),
            self.config.attempts,
            lambda outcomes: self._keep(key, missing, outcomes),
        )

    def _missing(self, key: ProfileKey, wanted: Sequence[ProfileTask]) -> list[ProfileTask]:
        """Those whom the store does not know by this history, prompt, model and parameters."""
        stored = self.store.find(key, [one.user_id for one in wanted])
        missing = []
        for one in wanted:
            found = stored.get((one.user_id, one.history_hash))
            if found is None or (found.text is None and self.config.retry_failed):
                missing.append(one)
            elif found.text is None:
                self._count_failure(one.user_id, found.error or "failed before")
            else:
                self.report.reused += 1
        return missing

    def _plan(self, writer: PromptWriter, one: ProfileTask) -> PromptPlan:
        if one.parts is not None:
            return plan_combination(writer, one.parts, one.events, self._fits)
        if one.prior is not None and self.config.family != "aspects":
            return plan_update(writer, one.prior, one.events, one.n_new, self.config.mode, self._fits)
        return plan_profile(writer, one.events, self.config.mode, self._fits)

    def _fits(self, prompt: Prompt) -> bool:
        limit = self.backend.context_tokens
        if limit is None:
            return True
        return self.backend.count_tokens(prompt.messages) + self.config.max_output_tokens <= limit

    def _judge(self, writer: PromptWriter, one: ProfileTask, prompt: Prompt, raw: str) -> Judgement:
        """Form first, then what it gives away, then whether the history carries it: the whole one, not the part."""
        text, problem = check_reply(raw, self.config.checks, writer.instructions, prompt.schema)
        problem = problem or find_leak(text, one.user_id, one.events)
        if problem is not None:
            return Judgement(text, problem)
        grounding = self.checker.ground(text, one.events)
        return Judgement(text, grounding.problem(self.config.trust), grounding.score)

    def _keep(self, key: ProfileKey, missing: Sequence[ProfileTask], outcomes: Sequence[Outcome]) -> None:
        self.waiting.update(missing[outcome.job].user_id for outcome in outcomes if outcome.error == WAITING)
        outcomes = [outcome for outcome in outcomes if outcome.error != WAITING]
        # a server that was away says nothing about a user: stored as a failure, nobody would ask again
        answered = [outcome for outcome in outcomes if not outcome.unanswered]
        self.store.save([self._record(key, missing[outcome.job], outcome) for outcome in answered])
        for outcome in outcomes:
            self.report.spent(outcome.prompt_tokens, outcome.completion_tokens)
            if outcome.error is None:
                self.report.written += 1
            else:
                self._count_failure(missing[outcome.job].user_id, outcome.error, unanswered=outcome.unanswered)
        if outcomes:
            self.progress.update("profiles", self.report.users, self.total)
            self.report.stop_if_too_many_failed(self.config.max_failed, final=False)
            self.kept(self.report)

    def _record(self, key: ProfileKey, one: ProfileTask, outcome: Outcome) -> Record:
        return Record(
            one.user_id,
            one.history_hash,
            key,
            outcome.text,
            self.config.parameters,
            outcome.prompt_tokens,
            outcome.completion_tokens,
            outcome.error,
            n_events=one.n_history or len(one.events),
            cost_usd=self.config.spending.cost_usd(outcome.prompt_tokens, outcome.completion_tokens),
            grounding=outcome.grounding,
        )

    def _count_failure(self, user_id: str, problem: str, *, unanswered: bool = False) -> None:
        self.report.failed += 1
        self.report.failed_users.add(user_id)
        # the bracket names what differs from user to user; reasons are counted without it
        short = problem.split(" (")[0]
        self.report.problems[short] += 1
        if unanswered:
            self.report.unanswered[short] += 1
