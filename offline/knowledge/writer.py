"""Writer of item knowledge: asks one model about many items, several a call, and checks and stores each answer at once.

An item that a reply leaves out, mixes up with another or describes unusably is asked about again, alone. The store
remembers that, so a run that was killed, or the next round of a batch file, goes on where it stopped.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from retort.offline.common.chunking import batches
from retort.offline.common.progress import Progress
from retort.offline.knowledge.catalogue_names import CatalogueNames
from retort.offline.knowledge.checks import Checked, check_answer, mixed_up
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.prompt import ItemPromptWriter, ItemTask, make_task
from retort.offline.knowledge.replies import read_reply
from retort.offline.knowledge.store import ItemRecord, KnowledgeKey, KnowledgeStore
from retort.offline.profiles.backends._base import WAITING, ProfileBackend, Prompt
from retort.offline.profiles.backends.template import is_by_rule
from retort.offline.profiles.conversations import Judgement, Outcome, run_conversations
from retort.offline.profiles.history import Catalogue
from retort.offline.profiles.prompt_plan import PromptPlan
from retort.offline.profiles.report import ProfilesReport
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json
from retort.shared.base.schema import MAX_ID_LENGTH

UNKNOWN = "unknown"
_ENOUGH_TEXTS = 200  # texts from which on a share of different ones stops the run early
_FIRST_ALONE = 32  # items that are sent alone before all others, where no reply was accepted so far
# Start of the stored error of an item that is to be asked about alone; it is no failure.
ALONE = "to be asked alone"


def _do_nothing(_report: ProfilesReport) -> None:
    """Default of `kept`: the run goes on."""


@dataclass(frozen=True)
class ItemWriter:
    """Writer of many items' texts with one model.

    Attributes:
        report: Counts of the run; its users are items.
        notes: What the checks removed or counted in accepted texts, and the items that the model does not know.
        total: Items in all, for the progress display.
        kept: Called after each stored reply; it may raise to stop the run.
        waiting: Items whose prompts are in a batch file without a result.
        texts: The texts of this run, to notice a model that writes the same about all items.
    """

    config: KnowledgeConfig
    store: KnowledgeStore
    backend: ProfileBackend
    catalogue: Catalogue
    names: CatalogueNames
    report: ProfilesReport
    progress: Progress
    total: int | None = None
    kept: Callable[[ProfilesReport], None] = _do_nothing
    waiting: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)

    @cached_property
    def prompts(self) -> ItemPromptWriter:
        """Builder of the prompts."""
        return ItemPromptWriter.of(self.config)

    @cached_property
    def key(self) -> KnowledgeKey:
        """The key under which the texts are stored."""
        return knowledge_key(self.config, self.backend.model)

    @cached_property
    def _rules(self) -> "KnowledgeConfig":
        if not is_by_rule(self.backend.model):
            return self.config
        checks = self.config.checks.model_copy(update={"refuse_restated": False, "min_words": 1, "min_distinct": 0.0})
        return self.config.model_copy(update={"checks": checks})

    def write_chunk(self, item_ids: Sequence[str]) -> None:
        """Write the texts that some items lack; items that a person corrected are left out."""
        corrected = self.store.corrections(item_ids)
        self.report.users += len(item_ids)
        self.report.chosen += len(corrected)
        known = [(item_id, self.catalogue.facts(item_id)) for item_id in item_ids if item_id not in corrected]
        tasks = [make_task(item_id, facts) for item_id, facts in known if facts is not None]
        together, alone = self._missing(tasks)
        if self.config.items_per_call > 1:
            groups = [part for group in batches(together, self.config.items_per_call) for part in self._fitting(group)]
            alone = sorted([*alone, *self._ask(groups, 1)])
        else:
            alone = sorted([*alone, *together])
        for part in self._probed(alone):
            self._ask([[task] for task in part], self.config.attempts)
        self.progress.update("item knowledge", self.report.users, self.total)

    def _probed(self, alone: list[ItemTask]) -> list[list[ItemTask]]:
        """Divide items that are sent alone: until a text was accepted, a few show whether the model is usable."""
        if self.report.written or self.report.reused or len(alone) <= _FIRST_ALONE:
            return [alone]
        first = alone[:: -(-len(alone) // _FIRST_ALONE)]  # from the whole catalogue, whose beginning may be unusual
        chosen = {task.item_id for task in first}
        return [first, [task for task in alone if task.item_id not in chosen]]

    def _missing(self, tasks: Sequence[ItemTask]) -> tuple[list[ItemTask], list[ItemTask]]:
        """The tasks without a stored text: those not asked yet, and those to be asked alone."""
        stored = self.store.find(self.key, [task.item_id for task in tasks])
        together: list[ItemTask] = []
        alone: list[ItemTask] = []
        for task in tasks:
            found = stored.get((task.item_id, task.content_hash))
            if found is None:
                together.append(task)
            elif found.error is None:
                self.report.reused += 1
                self.notes[UNKNOWN] += found.text is None
            elif self.config.retry_failed or found.error.startswith(ALONE):
                alone.append(task)
            else:
                self._count_failure(task.item_id, found.error)
        return together, alone

    def _fitting(self, group: list[ItemTask]) -> list[list[ItemTask]]:
        """Halve a group until its prompt fits into the model's context."""
        if len(group) == 1 or self._fits(self.prompts.write(group)):
            return [group]
        middle = len(group) // 2
        return self._fitting(group[:middle]) + self._fitting(group[middle:])

    def _fits(self, prompt: Prompt) -> bool:
        limit = self.backend.context_tokens
        if limit is None:
            return True
        return self.backend.count_tokens(prompt.messages) + self.config.sampling.max_output_tokens <= limit

    def _ask(self, groups: Sequence[list[ItemTask]], attempts: int) -> list[ItemTask]:
        """Ask about groups of items. Returns the items of several that were not described."""
        left: list[ItemTask] = []
        accepted: dict[int, dict[str, Checked]] = {}

        def judge(number: int, _prompt: Prompt, raw: str) -> Judgement:
            accepted[number], problem = self._judge(groups[number], raw)
            return Judgement(raw[:4000], problem)

        def keep(outcomes: list[Outcome]) -> None:
            for outcome in outcomes:
                left.extend(self._keep(groups[outcome.conversation], outcome, accepted.get(outcome.conversation, {})))
            if outcomes:
                self.progress.update("item knowledge", self.report.users, self.total)
                self.report.stop_if_too_many_failed(self.config.max_failed, final=False)
                self._stop_if_alike()
                self.kept(self.report)

        run_conversations([self._plan(group) for group in groups], self.backend, judge, attempts, keep)
        return left

    def _plan(self, group: list[ItemTask]) -> PromptPlan:
        prompt = self.prompts.write(group)
        if len(group) == 1 and not self._fits(prompt):
            raise ProfileError(
                "a prompt with a single item does not fit into the model's context; lower [knowledge] item_text_chars, "
                "items_per_call or max_output_tokens, name fewer attributes, or use a model with a longer context."
            )
        (text,) = yield [prompt]
        return text

    def _judge(self, group: Sequence[ItemTask], raw: str) -> tuple[dict[str, Checked], str | None]:
        """Check a reply: item_id → accepted answer, and a problem if there is none."""
        answers, problem = read_reply(raw, group, self.prompts)
        accepted: dict[str, Checked] = {}
        for task in group:
            if (answer := answers.get(task.item_id)) is None:
                continue
            rules = self._rules.checks
            checked = check_answer(
                answer, task.facts, rules, self.names, self.config.language, self.prompts.instructions
            )
            others = [other.facts for other in group if other is not task]
            if checked.problem is None and others and mixed_up(checked.fields, task.facts, others):
                checked = checked._replace(problem="about another item of the request")
            if checked.problem is None:
                accepted[task.item_id] = checked
            problem = problem or checked.problem
        return accepted, None if accepted else problem

    def _keep(self, group: list[ItemTask], outcome: Outcome, accepted: dict[str, Checked]) -> Iterator[ItemTask]:
        """Store the outcome of one request; yields the items that are to be asked about alone."""
        if outcome.error == WAITING:
            self.waiting.update(task.item_id for task in group)
            return
        self.report.spent(outcome.prompt_tokens, outcome.completion_tokens, outcome.cached_tokens)
        if outcome.unanswered:
            # a failure of the server is not stored: it says nothing about the items, and a rerun asks again
            for task in group:
                self._count_failure(task.item_id, outcome.error or "no answer", unanswered=True)
            return
        records = [self._record(task, accepted.get(task.item_id), outcome, len(group)) for task in group]
        self.store.save(records)
        for task, record in zip(group, records, strict=True):
            if record.error is None:
                self.report.written += 1
                self.notes[UNKNOWN] += record.text is None
                self.texts.update([record.text] if record.text else [])
                self.notes.update(accepted[task.item_id].notes)
            elif len(group) > 1:
                yield task
            else:
                self._count_failure(task.item_id, record.error)

    def _stop_if_alike(self) -> None:
        """Stop early where a model writes the same few texts about all items."""
        n_texts, n_distinct = self.texts.total(), len(self.texts)
        if n_texts >= _ENOUGH_TEXTS and n_distinct < self._rules.checks.min_distinct * n_texts:
            common, count = self.texts.most_common(1)[0]
            raise ProfileError(
                f"only {n_distinct:,} of {n_texts:,} texts of {self.backend.model} are different ({count:,} are "
                f"{common[:80]!r}); use another model or prompt, or lower [knowledge.checks] min_distinct."
            )

    def _record(self, task: ItemTask, answer: Checked | None, outcome: Outcome, n_items: int) -> ItemRecord:
        text, fields, error = None, None, None
        if answer is not None:
            text = answer.text or None
            fields = {name: phrases for name, phrases in answer.fields.items() if name and phrases} or None
        elif n_items > 1:
            error = f"{ALONE} ({outcome.error or 'a reply about several items left it out or described it unusably'})"
        else:
            error = outcome.error or "no answer"
        kept = {"rejected_reply": outcome.rejected} if error and n_items == 1 and outcome.rejected else {}
        prompt_tokens, completion_tokens = outcome.prompt_tokens // n_items, outcome.completion_tokens // n_items
        cost = self.config.spending.cost_usd(outcome.prompt_tokens, outcome.completion_tokens, outcome.cached_tokens)
        return ItemRecord(
            task.item_id,
            task.content_hash,
            self.key,
            text,
            fields,
            self.config.parameters | kept,
            prompt_tokens,
            completion_tokens,
            None if cost is None else cost / n_items,
            error,
        )

    def _count_failure(self, item_id: str, problem: str, *, unanswered: bool = False) -> None:
        self.report.failed += 1
        self.report.failed_users.add(item_id)
        # details in brackets differ between items, so reasons are counted without them
        short = problem.split(" (")[0]
        self.report.problems[short] += 1
        self.report.examples.setdefault(short, problem)
        if unanswered:
            self.report.unanswered[short] += 1


def knowledge_key(config: KnowledgeConfig, model: str) -> KnowledgeKey:
    """Return the key under which a model's texts are stored."""
    version = ItemPromptWriter.of(config).version
    return KnowledgeKey(version, model[:MAX_ID_LENGTH], hash_json(config.parameters))
