"""Token budget: prices of a language model, and the limits at which a run stops."""

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from retort.offline.common.section import Section
from retort.shared.base.errors import ProfileError

if TYPE_CHECKING:
    from retort.offline.profiles.report import ProfilesReport


class BudgetSpentError(ProfileError):
    """The run has reached its budget; finished profiles are kept, and a rerun requests only the rest."""


class SpendingConfig(Section):
    """Recipe section `[profiles.spending]`: the provider's prices, and what one run may use."""

    usd_per_million_input: float | None = Field(None, ge=0, description="US dollars per million prompt tokens")
    usd_per_million_cached_input: float | None = Field(
        None,
        ge=0,
        description="US dollars per million prompt tokens that the server read from its cache; unset: as other "
        "prompt tokens",
    )
    usd_per_million_output: float | None = Field(None, ge=0, description="US dollars per million completion tokens")
    max_tokens: int | None = Field(None, ge=1, description="prompt and completion tokens together; unset: no limit")
    max_usd: float | None = Field(None, gt=0, description="US dollars; unset: no limit; requires both prices")

    @model_validator(mode="after")
    def _require_prices(self) -> Self:
        if self.max_usd is not None and self.cost_usd(0, 0) is None:
            raise ValueError("max_usd requires usd_per_million_input and usd_per_million_output; set both")
        return self

    def cost_usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float | None:
        """Return the cost of these tokens in US dollars; None where the prices are not set.

        Args:
            cached_tokens: Those of `prompt_tokens` that the server read from its cache.
        """
        if self.usd_per_million_input is None or self.usd_per_million_output is None:
            return None
        cached_price = self.usd_per_million_cached_input
        if cached_price is None:
            cached_price = self.usd_per_million_input
        micro = (prompt_tokens - cached_tokens) * self.usd_per_million_input + cached_tokens * cached_price
        return (micro + completion_tokens * self.usd_per_million_output) / 1e6

    def check(self, report: "ProfilesReport") -> None:
        """Raise BudgetSpentError once a run's report reaches a limit."""
        self.stop_if_spent(report.prompt_tokens, report.completion_tokens, report.cached_tokens)

    def stop_if_spent(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> None:
        """Raise BudgetSpentError once a limit is reached."""
        tokens = prompt_tokens + completion_tokens
        if self.max_tokens is not None and tokens >= self.max_tokens:
            raise BudgetSpentError(
                f"{tokens:,} tokens are used and [profiles.spending] max_tokens is {self.max_tokens:,}; finished "
                "profiles are kept: run again for the rest. The limit is one of each run; raise it for fewer runs."
            )
        cost = self.cost_usd(prompt_tokens, completion_tokens, cached_tokens)
        if self.max_usd is not None and cost is not None and cost >= self.max_usd:
            raise BudgetSpentError(
                f"${_shown(cost)} are spent and [profiles.spending] max_usd is {_shown(self.max_usd)}; finished "
                "profiles are kept: run again for the rest. The limit is one of each run; raise it for fewer runs."
            )


def _shown(usd: float) -> str:
    """An amount in cents, or with two digits where it is smaller."""
    return f"{usd:.2f}" if usd >= 0.1 else f"{usd:.2g}"
