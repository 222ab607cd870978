"""The recipe's `[export]`."""

from typing import Literal

from pydantic import Field

from retort.offline.common.section import Section


class ExportConfig(Section):
    """How the graph finds the best items."""

    retrieval: Literal["auto", "exact", "two_stage"] = Field(
        "auto",
        description="exact: every score in float32. two_stage: int8 codes of all items choose candidates, which are "
        "ranked in float32. auto: two_stage from 100,000 items on, if both agree on 99.9 % of the first ten",
    )
