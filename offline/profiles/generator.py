"""From histories to stored profiles: ask only for what is missing or changed, keep each answer at once."""

import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from offline.data.interactions import Items
from offline.profiles.asking import Outcome, hold_conversations
from offline.profiles.backends._base import ProfileBackend, Prompt
from offline.profiles.batches import batches
from offline.profiles.checks import accept
from offline.profiles.config import IMPORTED, ProfilesConfig, backend_name, combiner, open_backend, writers
from offline.profiles.history import Catalogue, Event, UserHistory
from offline.profiles.imported import import_profiles
from offline.profiles.planning import Steps, combine_steps, profile_steps
from offline.profiles.prompt import PromptWriter, history_hash
from offline.profiles.report import ProfilesReport
from offline.profiles.store import ProfileStore, Question, Record, Stored
from offline.progress import Progress
from shared.hashing import hash_json
from shared.schema import MAX_ID_LENGTH
from shared.settings import LanguageModelSettings

_READ_AT_ONCE = 4096  # users whose texts are read in one go


class _Wanted(NamedTuple):
    """One user's profile of one aspect; `parts` are the profiles that it combines."""

    user_id: str
    history_hash: str
    events: Sequence[Event]
    parts: dict[str, str] | None = None


def write_profiles(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    settings: LanguageModelSettings,
    progress: Progress,
) -> ProfilesReport:
    """Write what the store lacks. Users without a known item get no profile.

    Raises ProfileError where the model or the file cannot be used; what was answered until then is kept.
    """
    started_s = time.monotonic()
    if config.backend == IMPORTED:
        report = import_profiles(histories, config, store)
    else:
        report = _ask_for_profiles(histories, items, config, store, settings, progress)
    report.seconds = time.monotonic() - started_s
    progress.say(report.line())
    return report


def profiles_table(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    report: ProfilesReport,
) -> pl.DataFrame:
    """The texts for the next step: user_id, aspect, text; one row a user, or one an aspect where none combines them."""
    catalogue = Catalogue(items, config.attributes, config.item_text_chars)
    parts: list[dict[str, str]] = []
    for some in batches(histories, _READ_AT_ONCE):
        wanted = _wanted(some, catalogue, config, ProfilesReport(report.backend))
        if report.source is not None:
            wanted = [_Wanted(one.user_id, report.source, ()) for one in wanted]
        elif (whole := combiner(config)) is not None:
            wanted = _combinable(wanted, _questions(config, report), store)
            parts += _texts(
                wanted, Question(whole.aspect, whole.version, _model(report), hash_json(config.parameters)), store
            )
            continue
        for question in report.questions:
            parts += _texts(wanted, question, store)
    return pl.DataFrame(parts, schema={"user_id": pl.String, "aspect": pl.String, "text": pl.String})


def _texts(wanted: Sequence[_Wanted], question: Question, store: ProfileStore) -> Iterator[dict[str, str]]:
    stored = store.find(question, [one.user_id for one in wanted])
    for one in wanted:
        found = stored.get((one.user_id, one.history_hash))
        if found is not None and found.text is not None:
            yield {"user_id": one.user_id, "aspect": question.aspect, "text": found.text}


def _model(report: ProfilesReport) -> str:
    return report.questions[0].model


def _questions(config: ProfilesConfig, report: ProfilesReport) -> list[Question]:
    digest = hash_json(config.parameters)
    return [Question(writer.aspect, writer.version, _model(report), digest) for writer in writers(config)]


def _wanted(
    some: Iterable[UserHistory], catalogue: Catalogue, config: ProfilesConfig, report: ProfilesReport
) -> list[_Wanted]:
    """Users of whom something is known; the others are counted."""
    wanted = []
    for history in some:
        report.users += 1
        events, unknown = catalogue.events(history, config.max_history)
        report.unknown_events += unknown
        if events:
            wanted.append(_Wanted(history.user_id, history_hash(events), events))
        else:
            report.without_history += 1
    return wanted


def _combinable(wanted: Sequence[_Wanted], questions: Sequence[Question], store: ProfileStore) -> list[_Wanted]:
    """Users with aspects to combine. The hash covers their texts: an aspect written anew asks for a new combination."""
    user_ids = [one.user_id for one in wanted]
    found = {question.aspect: store.find(question, user_ids) for question in questions}
    combinable = []
    for one in wanted:
        stored = {aspect: by_key.get((one.user_id, one.history_hash)) for aspect, by_key in found.items()}
        texts = {aspect: answer.text for aspect, answer in stored.items() if answer is not None and answer.text}
        if texts:
            combinable.append(_Wanted(one.user_id, hash_json([one.history_hash, texts]), one.events, texts))
    return combinable


def _ask_for_profiles(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    settings: LanguageModelSettings,
    progress: Progress,
) -> ProfilesReport:
    catalogue = Catalogue(items, config.attributes, config.item_text_chars)
    aspects, whole = writers(config), combiner(config)
    total = len(histories) if isinstance(histories, Sized) else None
    report = ProfilesReport(backend_name(config, settings))
    backend = open_backend(config, settings)
    try:
        run = _Run(config, store, backend, report, progress, total)
        final = [whole] if whole is not None else aspects
        report.questions = [run.question(writer) for writer in final]
        for some in batches(histories, config.chunk_users):
            wanted = _wanted(some, catalogue, config, report)
            for writer in aspects:
                run.write(writer, wanted)
            if whole is not None:
                run.write(whole, _combinable(wanted, [run.question(writer) for writer in aspects], store))
            progress.update("profiles", report.users, total)
    finally:
        backend.close()
    report.stop_if_hopeless(config.max_failed, final=True)
    return report


@dataclass(frozen=True)
class _Run:
    """What stays the same while one model is asked about many users."""

    config: ProfilesConfig
    store: ProfileStore
    backend: ProfileBackend
    report: ProfilesReport
    progress: Progress
    total: int | None

    def question(self, writer: PromptWriter) -> Question:
        digest = hash_json(self.config.parameters)
        return Question(writer.aspect, writer.version, self.backend.model[:MAX_ID_LENGTH], digest)

    def write(self, writer: PromptWriter, wanted: Sequence[_Wanted]) -> None:
        """Ask about those whom the store does not know by this history, prompt, model and parameters."""
        question = self.question(writer)
        stored = self.store.find(question, [one.user_id for one in wanted])
        missing = []
        for one in wanted:
            found = stored.get((one.user_id, one.history_hash))
            if found is None or self._is_stale(found):
                missing.append(one)
            elif found.text is None:
                self._count_failure(found.error or "failed before")
            else:
                self.report.reused += 1
        steps = [self._steps(writer, one) for one in missing]
        hold_conversations(
            steps,
            self.backend,
            lambda prompt, raw: self._judge(writer, prompt, raw),
            self.config.attempts,
            lambda outcomes: self._keep(question, missing, outcomes),
        )

    def _is_stale(self, found: Stored) -> bool:
        return found.text is None and self.config.retry_failed

    def _steps(self, writer: PromptWriter, one: _Wanted) -> Steps:
        if one.parts is not None:
            return combine_steps(writer, one.parts, one.events, self._fits)
        return profile_steps(writer, one.events, self.config.mode, self._fits)

    def _fits(self, prompt: Prompt) -> bool:
        limit = self.backend.context_tokens
        if limit is None:
            return True
        return self.backend.count_tokens(prompt.messages) + self.config.max_output_tokens <= limit

    def _judge(self, writer: PromptWriter, prompt: Prompt, raw: str) -> tuple[str, str | None]:
        return accept(raw, self.config.checks, writer.instructions, prompt.schema)

    def _keep(self, question: Question, missing: Sequence[_Wanted], outcomes: Sequence[Outcome]) -> None:
        self.store.save([self._record(question, missing[outcome.job], outcome) for outcome in outcomes])
        for outcome in outcomes:
            self.report.prompt_tokens += outcome.prompt_tokens
            self.report.completion_tokens += outcome.completion_tokens
            if outcome.error is None:
                self.report.written += 1
            else:
                self._count_failure(outcome.error)
        if outcomes:
            self.progress.update("profiles", self.report.users, self.total)
            self.report.stop_if_hopeless(self.config.max_failed, final=False)

    def _record(self, question: Question, one: _Wanted, outcome: Outcome) -> Record:
        return Record(
            one.user_id,
            one.history_hash,
            question,
            outcome.text,
            self.config.parameters,
            outcome.prompt_tokens,
            outcome.completion_tokens,
            outcome.error,
        )

    def _count_failure(self, problem: str) -> None:
        self.report.failed += 1
        self.report.problems[problem] += 1
