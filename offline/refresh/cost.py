"""Cost estimates of profiles: tokens measured on prompts of a sample, then money, GPU hours and storage.

This module contains no price list. Prices and rates come from the options, or from a calibration run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from retort.offline.common.section import Section
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens
from retort.offline.profiles.config import ProfilesConfig, combination_writer, prompt_writers
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.population import count_population

_BYTES_PER_ROW = 420  # of one profile in the database without its text: keys, hashes, index entries
_REDIS_BYTES_PER_EVENT = 40
_SAMPLE = 200


@dataclass(frozen=True)
class TokenModel:
    """Linear model of the tokens of one user: prompt tokens = base + per_event × events read (+ the old profile).

    combined: one more text is generated from the texts of all aspects, which its prompt reads instead of events.
    """

    base: float
    per_event: float
    profile: float
    aspects: int = 1
    combined: bool = False

    @property
    def texts(self) -> int:
        """Texts that are generated per user."""
        return self.aspects + self.combined

    def __call__(self, n_events: int, update: bool) -> float:
        """Estimate the tokens of prompts and answers of one user."""
        return self.prompt(n_events, update) + self.answer()

    def prompt(self, n_events: int, update: bool) -> float:
        """Estimate the tokens of one user's prompts."""
        of_aspects = self.aspects * (self.base + self.per_event * n_events + (self.profile if update else 0.0))
        return of_aspects + self.combined * (self.base + self.aspects * self.profile)

    def answer(self) -> float:
        """Estimate the tokens of one user's answers."""
        return self.texts * self.profile


def calibrate(
    sample: Sequence[UserHistory],
    catalogue: Catalogue,
    config: ProfilesConfig,
    answer_tokens: float,
    count: TokenCounter = estimate_tokens,
) -> TokenModel:
    """Fit the token model on the prompts of a sample. answer_tokens: mean length of a profile, measured or assumed."""
    population = count_population(sample[:_SAMPLE], catalogue)
    all_writers = [replace(writer, population=population) for writer in prompt_writers(config)]
    kinds = len(all_writers), combination_writer(config) is not None
    rows = []
    for history in sample[:_SAMPLE]:
        events, _ = catalogue.events(history, config.max_history)
        if events:
            rows.append((len(events), count(all_writers[0].write(events).messages)))
    if not rows:
        return TokenModel(float(config.max_output_tokens), 0.0, answer_tokens, *kinds)
    n_events, tokens = np.array(rows, dtype=np.float64).T
    if len(set(n_events)) == 1:
        return TokenModel(0.0, float(tokens.mean() / n_events[0]), answer_tokens, *kinds)
    per_event, base = np.polyfit(n_events, tokens, 1)
    return TokenModel(max(0.0, float(base)), max(0.0, float(per_event)), answer_tokens, *kinds)


class Prices(Section):
    """Prices and rates for a plan, which prints them with its result."""

    usd_per_million_input: float = Field(0.0, ge=0)
    usd_per_million_output: float = Field(0.0, ge=0)
    usd_per_million_cached_input: float | None = Field(None, ge=0, description="unset: as other prompt tokens")
    usd_per_gpu_hour: float = Field(0.0, ge=0)
    prompt_tokens_per_s: float | None = Field(None, gt=0, description="of one GPU, measured by a calibration run")
    answer_tokens_per_s: float | None = Field(None, gt=0, description="of one GPU, measured by a calibration run")
    gpus: int = Field(1, ge=1)
    cached_share: float = Field(0.0, ge=0, lt=1, description="share of prompt tokens that prefix caching saves")


@dataclass(frozen=True)
class Plan:
    """Cost of one policy over a year, or of one refresh of all users (refreshes = 1)."""

    policy: str
    refreshes: float
    prompt_tokens: float
    answer_tokens: float
    api_usd: float
    gpu_hours: float | None
    gpu_usd: float | None
    wall_hours: float | None


@dataclass(frozen=True)
class Storage:
    """Bytes of storage when every user has a profile."""

    database: float
    vectors: float
    redis: float


def plan_policy(
    policy: str, refreshes: float, events_read: float, update: bool, tokens: TokenModel, prices: Prices
) -> Plan:
    """Compute the cost of a policy.

    Args:
        refreshes: profiles written, users × times.
        events_read: mean number of events that one profile reads.
    """
    prompt = refreshes * tokens.prompt(round(events_read), update)
    answer = refreshes * tokens.answer()
    cached_price = prices.usd_per_million_cached_input
    input_price = prices.usd_per_million_input
    if cached_price is not None:
        input_price += prices.cached_share * (cached_price - input_price)
    api = (prompt * input_price + answer * prices.usd_per_million_output) / 1e6
    hours = None
    if prices.prompt_tokens_per_s and prices.answer_tokens_per_s:
        read = prompt * (1.0 - prices.cached_share) / prices.prompt_tokens_per_s
        hours = (read + answer / prices.answer_tokens_per_s) / 3600
    gpu_usd = None if hours is None else hours * prices.usd_per_gpu_hour
    return Plan(policy, refreshes, prompt, answer, api, hours, gpu_usd, None if hours is None else hours / prices.gpus)


def plan_storage(users: float, text_bytes: float, width: int, events: float) -> Storage:
    """Compute the storage. width: of one stored float32 vector; events: stored per user in Redis."""
    return Storage(users * (text_bytes + _BYTES_PER_ROW), users * width * 4.0, users * events * _REDIS_BYTES_PER_EVENT)
