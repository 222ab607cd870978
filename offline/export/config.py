"""The recipe's `[export]`."""

from typing import Any, Literal

from pydantic import Field

from retort.offline.common.section import Section

Precision = Literal["fp32", "fp16", "int8"]


class ExportConfig(Section):
    """How the graph finds the best items, and how their vectors are stored."""

    retrieval: Literal["auto", "exact", "two_stage"] = Field(
        "auto",
        description="exact: every score in float32. two_stage: int8 codes of all items choose candidates, which are "
        "ranked in float32. auto: two_stage from 100,000 items on, if both agree on 99.9 % of the first ten",
    )
    precision: Precision = Field(
        "fp32",
        description="of the stored item vectors; fp16 halves a bundle and int8 quarters it. The sealed bundle reports "
        "how its lists differ from fp32",
    )
    least_parity: float = Field(
        0.98,
        ge=0,
        le=1,
        description="fp16 and int8: least share of the first ten items in common with fp32; the promotion gate refuses "
        "less",
    )

    def key(self) -> dict[str, Any]:
        """Return what the export step depends on; later keys count only with other values, so that earlier work is
        found."""
        later = self.model_dump(mode="json", exclude={"retrieval"}, exclude_defaults=True)
        return {"retrieval": self.retrieval, **later}
