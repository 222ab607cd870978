"""Cost of describing a catalogue: tokens measured on prompts of a sample, for several numbers of items a call."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from retort.offline.common.chunking import batches
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.prompt import ItemPromptWriter, ItemTask
from retort.offline.profiles.backends._base import Message
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens
from retort.shared.db.models import DONE, ItemKnowledge
from retort.shared.db.session import reading

_SAMPLE = 256
_TOKENS_PER_WORD = 1.6  # of English nouns and brands
_TOKENS_PER_FIELD = 5.0  # its name, quotes and brackets in JSON
ITEMS_A_CALL = (1, 4, 8, 16)


@dataclass(frozen=True)
class KnowledgePlan:
    """Tokens and cost of describing so many items, with so many a call.

    prefix_tokens: those of the prompt tokens that all requests begin with; a prefix cache reads them once.
    usd: None where the recipe gives no prices. usd_cached: with the prefix at the price of cached tokens.
    """

    items: int
    items_per_call: int
    calls: int
    prompt_tokens: int
    prefix_tokens: int
    answer_tokens: int
    usd: float | None
    usd_cached: float | None

    def sentence(self) -> str:
        """Return the plan as text."""
        cost = "" if self.usd is None else f", ${self.usd:.2f} (${self.usd_cached:.2f} with a prefix cache)"
        return (
            f"{self.items:,} items in {self.calls:,} requests of {self.items_per_call}: about {self.prompt_tokens:,} "
            f"prompt tokens ({self.prefix_tokens:,} of them the same in every request) and {self.answer_tokens:,} "
            f"answer tokens{cost}"
        )


def plan_description(
    tasks: Sequence[ItemTask],
    config: KnowledgeConfig,
    items_per_call: int,
    answer_tokens: float | None = None,
    count: TokenCounter = estimate_tokens,
) -> KnowledgePlan:
    """Estimate the tokens of describing items, from the prompts of a sample.

    Args:
        answer_tokens: Mean tokens of an answer about one item; None: estimated from the words asked for.
        count: Counts the tokens of a chat.
    """
    writer, n = ItemPromptWriter.of(config), len(tasks)
    sample = tasks[:: max(1, n // _SAMPLE)][:_SAMPLE]
    calls = -(-n // items_per_call)
    if not sample:
        return KnowledgePlan(
            0, items_per_call, 0, 0, 0, 0, config.spending.cost_usd(0, 0), config.spending.cost_usd(0, 0)
        )
    prefix = count([Message(role="user", content=writer.instructions)])
    of_records = sum(count(writer.write(group).messages) - prefix for group in batches(sample, items_per_call))
    prompt = round(calls * prefix + max(0, of_records) * n / len(sample))
    answer = round(n * (answer_tokens or _answer_tokens(config)))
    usd = config.spending.cost_usd(prompt, answer)
    cached = config.spending.cost_usd(prompt, answer, max(0, calls - 1) * prefix)
    return KnowledgePlan(n, items_per_call, calls, prompt, calls * prefix, answer, usd, cached)


def _answer_tokens(config: KnowledgeConfig) -> float:
    around = _TOKENS_PER_FIELD * (len(config.fields) + 1) if config.family == "json" else _TOKENS_PER_FIELD
    return min(config.words * _TOKENS_PER_WORD + around, config.max_output_tokens)


def measured_answer_tokens(engine: sa.Engine, config: KnowledgeConfig) -> float | None:
    """Return the mean tokens of the stored answers to these instructions; None if there is none."""
    version = ItemPromptWriter.of(config).version
    where = (ItemKnowledge.prompt_version == version, ItemKnowledge.status == DONE, ItemKnowledge.completion_tokens > 0)
    with reading(engine) as session:
        mean = session.execute(sa.select(sa.func.avg(ItemKnowledge.completion_tokens)).where(*where)).scalar()
    return None if mean is None else float(mean)
