"""Report of item knowledge: coverage, how much the texts say beyond what was given, problems, tokens and cost."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from retort.offline.profiles.report import ProfilesReport
from retort.shared.base.errors import KnowledgeError

REPORT_FILE = "knowledge.json"
_SO_FEW = 3  # a few items, as when new ones are added, may well be alike
_ENOUGH_TO_JUDGE = 20  # texts from which on a share of different ones is meaningful
_OF_A_RUN = ("notes", "written", "reused", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "seconds")


@dataclass
class KnowledgeReport:
    """Counts of one run.

    Attributes:
        described: Items with a text.
        distinct: Different texts among them.
        unknown: Items of which the model, or the file, knows nothing.
        corrected: Items whose text a person set or forbade.
        new_words: Mean words of a text that title and attributes do not hold.
        restated: Texts without any such word.
        contradictions: Texts that contradict the item's year or brand; generated ones are asked again.
        other_categories: Texts whose type is a category of the catalogue that the item does not have.
        rivals: Rivals that the texts name; `unknown_rivals` are those that no item of the catalogue knows.
        blank: Items without title, attribute and text, which are not sent.
        not_ours: Texts of a file for ids that the items do not have.
        rejected: Unusable rows of a file; `examples` quotes the first.
        failed: Items without a usable reply; `problems` counts the reasons.
        notes: What the checks removed from the texts of this run.
        written: Texts of this run; `reused` are those of earlier runs.
    """

    backend: str
    items: int
    described: int = 0
    distinct: int = 0
    unknown: int = 0
    corrected: int = 0
    new_words: float = 0.0
    restated: int = 0
    contradictions: int = 0
    other_categories: int = 0
    rivals: int = 0
    unknown_rivals: int = 0
    blank: int = 0
    not_ours: int = 0
    rejected: int = 0
    examples: tuple[str, ...] = ()
    failed: int = 0
    waiting: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    written: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    seconds: float = 0.0

    @property
    def coverage(self) -> float:
        """Share of the items that have a text."""
        return self.described / self.items if self.items else 0.0

    def add_run(self, run: ProfilesReport, cost_usd: float | None) -> None:
        """Add the counts of a generation."""
        self.written, self.reused, self.failed = run.written, run.reused, run.failed
        self.prompt_tokens, self.completion_tokens = run.prompt_tokens, run.completion_tokens
        self.cached_tokens, self.cost_usd, self.problems = run.cached_tokens, cost_usd, run.problems

    def line(self) -> str:
        """Summarise in one line."""
        tokens = self.prompt_tokens + self.completion_tokens
        quoted = f" ({'; '.join(self.examples)})" if self.examples else ""
        counts = {
            f"{self.distinct:,} of them distinct": self.distinct,
            f"{self.new_words:.1f} new words each": self.new_words,
            f"{self.unknown:,} are unknown": self.unknown,
            f"{self.blank:,} have no title, attribute or text and are not sent": self.blank,
            f"{self.corrected:,} are corrected by people": self.corrected,
            f"{self.failed:,} failed ({_listed(self.problems)})": self.failed,
            f"{self.waiting:,} wait for the batch's results": self.waiting,
            f"{self.restated:,} only restate what was given": self.restated,
            f"{self.contradictions:,} contradict what was given": self.contradictions,
            f"{self.other_categories:,} name another category as their type": self.other_categories,
            f"{self.unknown_rivals:,} of {self.rivals:,} rivals are not in the catalogue": self.unknown_rivals,
            _listed(self.notes): self.notes,
            f"{self.not_ours:,} more belong to items without events or of other data": self.not_ours,
            f"{self.rejected:,} rows are unusable{quoted}": self.rejected,
            f"{self.written:,} written now and {self.reused:,} before": self.written or self.reused,
            f"{tokens:,} tokens": tokens,
            f"{self.cached_tokens:,} of them read from the server's cache": self.cached_tokens,
            f"${self.cost_usd or 0.0:.4f}": self.cost_usd,
        }
        parts = [f"{self.described:,} of {self.items:,} items have a text ({self.coverage:.1%})"]
        parts += [part for part, is_worth_saying in counts.items() if is_worth_saying]
        return f"knowledge ({self.backend}): {', '.join(parts)}"

    def refuse_few_distinct(self, min_distinct: float) -> None:
        """Raise KnowledgeError if the texts are all the same, or too few of them differ."""
        if self.described > _SO_FEW and self.distinct == 1:
            raise KnowledgeError(
                f"all {self.described:,} items have the same knowledge, so it cannot tell items apart; use another "
                "model, prompt or file."
            )
        if self.described >= _ENOUGH_TO_JUDGE and self.distinct < min_distinct * self.described:
            raise KnowledgeError(
                f"only {self.distinct:,} of {self.described:,} texts are different, less than [knowledge.checks] "
                f"min_distinct = {min_distinct:g} requires; read some with `retort items knowledge show`, and use "
                "another model, prompt or file."
            )

    def refuse_low_coverage(self, min_coverage: float) -> None:
        """Raise KnowledgeError if too few items have a text."""
        if self.coverage < min_coverage:
            raise KnowledgeError(
                f"{self.coverage:.1%} of the items have a text, but [knowledge] min_coverage requires "
                f"{min_coverage:.1%}; lower it, or give texts to more items."
            )

    def write(self, directory: Path) -> None:
        """Write the counts as JSON, without those that differ between runs that end alike."""
        counts = {name: value for name, value in vars(self).items() if name not in _OF_A_RUN}
        text = json.dumps(counts, indent=2, ensure_ascii=False)
        (directory / REPORT_FILE).write_text(text + "\n", encoding="utf-8")


def read_report(directory: Path) -> KnowledgeReport:
    """Read the counts that `KnowledgeReport.write` wrote."""
    counts = json.loads((directory / REPORT_FILE).read_text(encoding="utf-8"))
    return KnowledgeReport(**counts | {"problems": Counter(counts["problems"]), "examples": tuple(counts["examples"])})


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.most_common(5) if what != "unknown")
