"""Report of item knowledge: how many items have a text, and what was wrong with the others."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from retort.shared.base.errors import KnowledgeError

REPORT_FILE = "knowledge.json"


@dataclass
class KnowledgeReport:
    """Counts of one run.

    Attributes:
        described: Items with a text.
        distinct: Different texts among them.
        unknown: Rows that say that nothing is known.
        not_ours: Texts of ids that the items do not have.
        rejected: Unusable rows of the file.
        examples: The first unusable rows, quoted.
    """

    backend: str
    items: int
    described: int = 0
    distinct: int = 0
    unknown: int = 0
    not_ours: int = 0
    rejected: int = 0
    examples: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the items that have a text."""
        return self.described / self.items if self.items else 0.0

    def line(self) -> str:
        """Summarise in one line."""
        parts = [f"{self.described:,} of {self.items:,} items have a text ({self.coverage:.1%})"]
        parts.append(f"{self.distinct:,} of them distinct")
        if self.unknown:
            parts.append(f"{self.unknown:,} are unknown")
        if self.not_ours:
            parts.append(f"{self.not_ours:,} belong to other items")
        if self.rejected:
            parts.append(f"{self.rejected:,} rows are unusable ({'; '.join(self.examples)})")
        return f"knowledge ({self.backend}): {', '.join(parts)}"

    def refuse_one_text(self) -> None:
        """Raise KnowledgeError if several texts are all the same, which says nothing about any item."""
        if self.described > 1 and self.distinct == 1:
            raise KnowledgeError(
                f"all {self.described:,} items have the same knowledge, so it cannot tell items apart; use another "
                "model, prompt or file."
            )

    def write(self, directory: Path) -> None:
        """Write the counts as JSON."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (directory / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
