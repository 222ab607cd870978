"""Profile writer: sends the missing profiles of many users to one model, and checks and stores each reply at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from retort.offline.common.progress import Progress
from retort.offline.profiles.backends._base import WAITING, ProfileBackend, Prompt
from retort.offline.profiles.backends.template import is_by_rule
from retort.offline.profiles.checks import check_reply
from retort.offline.profiles.config import ProfilesConfig, combination_writer, prompt_writers
from retort.offline.profiles.conversations import Judgement, Outcome, run_conversations
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.population import Population
from retort.offline.profiles.privacy_checks import find_leak
from retort.offline.profiles.profile_tasks import PriorProfile, ProfileTask, build_tasks, combination_tasks
from retort.offline.profiles.prompt import PromptWriter
from retort.offline.profiles.prompt_plan import PromptPlan, plan_combination, plan_profile, plan_update
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileKey, ProfileStore, Record
from retort.shared.base.hashing import hash_json
from retort.shared.base.schema import MAX_ID_LENGTH

# Called after each stored reply; it may raise to stop the run.
AfterSave = Callable[[ProfilesReport], None]


def _do_nothing(_report: ProfilesReport) -> None:
    """Default `kept`: the run goes on."""


@dataclass(frozen=True)
class ProfileWriter:
    """Writer of many users' profiles with one model.

    Attributes:
        report: Counts of the run.
        total: Users in all, for the progress display; None: unknown.
        kept: Called after each stored reply; it may raise to stop the run.
        waiting: Users whose prompts are in a batch file without a result.
        population: Categories of all users, which prompts compare a user's with; None: no comparison.
    """

    config: ProfilesConfig
    store: ProfileStore
    backend: ProfileBackend
    catalogue: Catalogue
    checker: FaithfulnessChecker
    report: ProfilesReport
    progress: Progress
    total: int | None = None
    kept: AfterSave = _do_nothing
    waiting: set[str] = field(default_factory=set)
    population: Population | None = None

    def key(self, writer: PromptWriter) -> ProfileKey:
        """Return the key under which this writer's texts are stored."""
        digest = hash_json(self.config.parameters)
        return ProfileKey(writer.aspect, writer.version, self.backend.model[:MAX_ID_LENGTH], digest)

    def final_keys(self) -> list[ProfileKey]:
        """Return the keys that the next step reads: of the combination, or of each aspect."""
        combined = combination_writer(self.config)
        return [self.key(writer) for writer in ([combined] if combined is not None else prompt_writers(self.config))]

    def write_chunk(self, histories: Iterable[UserHistory], priors: Mapping[str, PriorProfile] | None = None) -> None:
        """Write all aspects of some users, and their combination.

        Users who edited, pinned or erased their profile are left out.

        Args:
            priors: user_id → earlier profile to update instead of reading the whole history; not for several aspects.
        """
        tasks = build_tasks(histories, self.catalogue, self.config.max_history, self.report, priors)
        chosen = self.store.choices([task.user_id for task in tasks])
        self.report.chosen += len(chosen)
        tasks = [task for task in tasks if task.user_id not in chosen]
        aspects, combined = prompt_writers(self.config), combination_writer(self.config)
        for writer in aspects:
            self._write(writer, tasks)
        if combined is not None:
            # a combination of some aspects would be outdated as soon as the others arrive
            tasks = [task for task in tasks if task.user_id not in self.waiting]
            self._write(combined, combination_tasks(tasks, [self.key(writer) for writer in aspects], self.store))
        self.progress.update("profiles", self.report.users, self.total)

    def _write(self, writer: PromptWriter, tasks: Sequence[ProfileTask]) -> None:
        key, writer = self.key(writer), replace(writer, population=self.population)
        missing = self._missing(key, tasks)
        run_conversations(
            [self._plan(writer, task) for task in missing],
            self.backend,
            lambda number, prompt, raw: self._judge(writer, missing[number], prompt, raw),
            self.config.attempts,
            lambda outcomes: self._keep(key, missing, outcomes),
        )

    def _missing(self, key: ProfileKey, tasks: Sequence[ProfileTask]) -> list[ProfileTask]:
        """Return the tasks without a stored text for this history, prompt, model and parameters."""
        stored = self.store.find(key, [task.user_id for task in tasks])
        missing = []
        for task in tasks:
            found = stored.get((task.user_id, task.history_hash))
            if found is None or (found.text is None and self.config.retry_failed):
                missing.append(task)
            elif found.text is None:
                self._count_failure(task.user_id, found.error or "failed before")
            else:
                self.report.reused += 1
        return missing

    def _plan(self, writer: PromptWriter, task: ProfileTask) -> PromptPlan:
        if task.parts is not None:
            return plan_combination(writer, task.parts, task.events, self._fits)
        if task.prior is not None and self.config.family != "aspects":
            return plan_update(writer, task.prior, task.events, task.n_new, self.config.mode, self._fits)
        return plan_profile(writer, task.events, self.config.mode, self._fits)

    def _fits(self, prompt: Prompt) -> bool:
        limit = self.backend.context_tokens
        if limit is None:
            return True
        return self.backend.count_tokens(prompt.messages) + self.config.max_output_tokens <= limit

    def _judge(self, writer: PromptWriter, task: ProfileTask, prompt: Prompt, raw: str) -> Judgement:
        """Check form, privacy and faithfulness; the latter by the whole history, not by the prompt's part."""
        text, problem = check_reply(raw, self.config.checks, writer.instructions, prompt.schema)
        if problem is None and (leak := find_leak(text, task.user_id, task.events)):
            return Judgement("", leak)  # a refused reply is stored, but not one with private data
        if problem is None and not is_by_rule(self.backend.model) and (title := self.checker.named_title(text)):
            problem = f"names a single title ({title[:60]})"
        if problem is not None:
            return Judgement(text, problem)
        faithfulness = self.checker.check(text, task.events)
        return Judgement(text, faithfulness.problem(self.config.trust), faithfulness.score)

    def _keep(self, key: ProfileKey, missing: Sequence[ProfileTask], outcomes: Sequence[Outcome]) -> None:
        self.waiting.update(missing[outcome.conversation].user_id for outcome in outcomes if outcome.error == WAITING)
        outcomes = [outcome for outcome in outcomes if outcome.error != WAITING]
        # a failure of the server is not stored: it says nothing about the user, and a rerun must send the prompt again
        answered = [outcome for outcome in outcomes if not outcome.unanswered]
        self.store.save([self._record(key, missing[outcome.conversation], outcome) for outcome in answered])
        for outcome in outcomes:
            self.report.spent(outcome.prompt_tokens, outcome.completion_tokens, outcome.cached_tokens)
            if outcome.error is None:
                self.report.written += 1
            else:
                self._count_failure(missing[outcome.conversation].user_id, outcome.error, unanswered=outcome.unanswered)
        if outcomes:
            self.progress.update("profiles", self.report.users, self.total)
            self.report.stop_if_too_many_failed(self.config.max_failed, final=False)
            self.kept(self.report)

    def _record(self, key: ProfileKey, task: ProfileTask, outcome: Outcome) -> Record:
        return Record(
            task.user_id,
            task.history_hash,
            key,
            outcome.text,
            # a refused reply is kept apart from `text`, so that nothing can read it as a profile
            self.config.parameters | ({"rejected_reply": outcome.rejected[:4000]} if outcome.rejected else {}),
            outcome.prompt_tokens,
            outcome.completion_tokens,
            outcome.error,
            n_events=task.n_history or len(task.events),
            cost_usd=self.config.spending.cost_usd(
                outcome.prompt_tokens, outcome.completion_tokens, outcome.cached_tokens
            ),
            faithfulness=outcome.faithfulness,
        )

    def _count_failure(self, user_id: str, problem: str, *, unanswered: bool = False) -> None:
        self.report.failed += 1
        self.report.failed_users.add(user_id)
        # details in brackets differ between users, so reasons are counted without them
        short = problem.split(" (")[0]
        self.report.problems[short] += 1
        self.report.examples.setdefault(short, problem)
        if unanswered:
            self.report.unanswered[short] += 1
