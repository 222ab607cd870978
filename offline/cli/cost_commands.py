"""`retort plan`: what refreshing costs, by policy, from prompts that were measured and prices that were stated."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.offline.common.terminal import TerminalProgress
from retort.offline.data.load import load_saved
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.build import load_pipeline
from retort.offline.profiles.history import Catalogue, user_histories
from retort.offline.refresh.cost import Plan, Prices, Storage, TokenModel, plan_policy, plan_storage
from retort.offline.refresh.start import token_model
from retort.shared.base.errors import RecipeError
from retort.shared.db.models import DONE, Profile, RefreshChunk, RefreshJob
from retort.shared.db.session import reading

_DAYS = 365
_TEXT_BYTES_PER_TOKEN = 4.5
_CHUNKS = 10_000  # the latest ones are what the factory does now
_WIDTH = 130
_WHOLE = 10**9  # events that no history has


@dataclass(frozen=True)
class Measured:
    """What is known of a factory that has run: means of stored texts, and one worker's rates; None where unknown.

    prompt_tokens are of a profile written from n_events. models: who wrote them.
    """

    answer_tokens: float | None
    prompt_tokens_per_s: float | None
    answer_tokens_per_s: float | None
    prompt_tokens: float | None = None
    n_events: float | None = None
    models: tuple[str, ...] = ()


def measure(engine: Engine, model: str | None = None, max_history: int | None = None) -> Measured:
    """From stored profiles and finished chunks, of one model or of all that count their tokens. The rates are of one
    worker, reading and writing at once. max_history: events of a history that a prompt reads."""
    counted = [Profile.status == DONE, Profile.completion_tokens > 0]
    if model is not None:
        counted.append(Profile.model == model)
    longest = max_history or _WHOLE
    n_read = sa.case((Profile.n_events > longest, longest), else_=Profile.n_events)
    columns = (Profile.completion_tokens, Profile.prompt_tokens, n_read)
    with reading(engine) as session:
        means = session.execute(sa.select(*(sa.func.avg(one) for one in columns)).where(*counted)).one()
        models = tuple(session.scalars(sa.select(Profile.model).where(*counted).distinct().order_by(Profile.model)))
        seconds, prompt, answer = _worked(session, model)
    answer_tokens, prompt_tokens, n_events = (None if mean is None else float(mean) for mean in means)
    # the time is one sum: both rates twice as high and one after the other give the same
    read, written = (2 * prompt / seconds, 2 * answer / seconds) if seconds else (None, None)
    return Measured(answer_tokens, read, written, prompt_tokens, n_events, models)


def _worked(session: Session, model: str | None) -> tuple[float, float, float]:
    """Seconds, tokens read and tokens written of chunks that were done at their first try."""
    seconds = prompt = answer = 0.0
    query = sa.select(RefreshChunk, RefreshJob.spec).join(RefreshJob, RefreshJob.id == RefreshChunk.job_id)
    done = query.where(RefreshChunk.status == DONE, RefreshChunk.attempts == 1, RefreshChunk.completion_tokens > 0)
    for row, spec in session.execute(done.order_by(RefreshChunk.ended_at.desc()).limit(_CHUNKS)):
        named = spec.get("profiles", {}).get("options", {}).get("model")
        if row.started_at and row.ended_at and (model is None or named in (None, model)):
            seconds += (row.ended_at - row.started_at).total_seconds()
            prompt, answer = prompt + row.prompt_tokens, answer + row.completion_tokens
    return seconds, prompt, answer


def show_plan(
    reference: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    users: int,
    answer_tokens: float | None,
    new_events_a_day: float,
    width: int | None,
    prices: Prices,
    model: str | None = None,
) -> None:
    """Print the plan, and everything that it assumes."""
    if users < 1:
        raise RecipeError(f"--users is {users}; plan for one user at least.")
    with TerminalProgress() as progress:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        loaded, split = load_saved(pipeline.ensure_path("data")), load_split(pipeline.ensure_path("split"))
    config = pipeline.context.recipe.profiles
    measured = measure(pipeline.context.engine, model, config.max_history)
    if model is not None and not measured.models:
        raise RecipeError(
            f"no stored profile was written by {model!r} with its tokens counted; refresh some users with it first "
            "(`retort refresh start … --users FILE`), or leave --model out and state --prompt-rate and --answer-rate."
        )
    catalogue = Catalogue(loaded.items, config.attributes, config.item_text_chars)
    histories = user_histories(split, loaded.interactions)
    tokens = calibrated(token_model(histories, catalogue, config, answer_tokens or measured.answer_tokens), measured)
    prices = prices.model_copy(
        update={
            "prompt_tokens_per_s": prices.prompt_tokens_per_s or measured.prompt_tokens_per_s,
            "answer_tokens_per_s": prices.answer_tokens_per_s or measured.answer_tokens_per_s,
        }
    )
    lengths = np.minimum(split.train.lengths[split.train.lengths > 0], config.max_history or _WHOLE)
    events = float(lengths.mean())
    plans = plans_of(users, events, new_events_a_day, tokens, prices)
    # in a file or a pipe nothing says how wide a line may be; policies that are cut short name nothing
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(_table(users, plans))
    width = width or pipeline.context.recipe.reducer.n_components
    storage = plan_storage(users, tokens.answer() * _TEXT_BYTES_PER_TOKEN, width, events)
    for said in (*_storage_lines(storage), *_assumptions(events, new_events_a_day, tokens, prices, measured)):
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def calibrated(tokens: TokenModel, measured: Measured) -> TokenModel:
    """The line through estimated prompts, moved to what the model itself counted for histories of that length."""
    if not measured.prompt_tokens or not measured.n_events:
        return tokens
    share = measured.prompt_tokens / (tokens.prompt(round(measured.n_events), update=False) / tokens.texts)
    return replace(tokens, base=tokens.base * share, per_event=tokens.per_event * share)


def plans_of(users: float, events: float, a_day: float, tokens: TokenModel, prices: Prices) -> list[Plan]:
    """One refresh of all, and a year of each policy."""
    month, grown = 30 * a_day, max(1.0, 0.5 * events)
    return [
        plan_policy("everybody, once", users, events, False, tokens, prices),
        plan_policy("year: everybody monthly", users * 12, events, False, tokens, prices),
        plan_policy("year: monthly, updates", users * 12, month, True, tokens, prices),
        plan_policy("year: every 10 new events", users * _DAYS * a_day / 10, events, False, tokens, prices),
        plan_policy("year: every 10, updates", users * _DAYS * a_day / 10, 10, True, tokens, prices),
        plan_policy("year: history grown by half", users * _DAYS * a_day / grown, events, False, tokens, prices),
    ]


def _table(users: int, plans: list[Plan]) -> Table:
    table = Table(
        Column("policy", no_wrap=True), "profiles", "tokens read", "written", "API USD",
        "GPU hours", "GPU USD", "wall hours", title=f"{users:,} users",
    )  # fmt: skip
    for plan in plans:
        numbers = (plan.refreshes, plan.prompt_tokens, plan.answer_tokens, plan.api_usd)
        rest = (plan.gpu_hours, plan.gpu_usd, plan.wall_hours)
        table.add_row(
            plan.policy, *(short(one) for one in numbers), *("–" if one is None else short(one) for one in rest)
        )
    return table


def short(number: float) -> str:
    """1,825,000,000 → 1.83 G; small numbers as they are."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / limit if letter != 'k' else number / 1e3:.3g} {letter}"
    return f"{number:,.1f}" if number % 1 else f"{number:,.0f}"


def _storage_lines(storage: Storage) -> list[str]:
    return [
        f"storage: database {storage.database / 1e9:,.1f} GB, vectors {storage.vectors / 1e9:,.1f} GB (the map's; the "
        f"encoder's wider ones come on top), histories in Redis {storage.redis / 1e9:,.1f} GB"
    ]


def _assumptions(events: float, a_day: float, tokens: TokenModel, prices: Prices, measured: Measured) -> list[str]:
    length = "stored profiles" if measured.answer_tokens else "half of max_output_tokens, or as given"
    rates = (
        "not known: give --prompt-rate and --answer-rate, or refresh some users first with a backend that counts "
        "tokens (openai or vllm; template reads none)"
    )
    if prices.prompt_tokens_per_s and prices.answer_tokens_per_s:
        rates = f"{prices.prompt_tokens_per_s:,.0f} tokens/s read, {prices.answer_tokens_per_s:,.0f} written, of a GPU"
    if measured.prompt_tokens_per_s and prices.prompt_tokens_per_s == measured.prompt_tokens_per_s:
        rates += " (measured: one worker's time is halved between both, whatever each took)"
    counted = f"as {', '.join(measured.models)} counted them" if measured.models else "by a careful estimate of tokens"
    return [
        f"a prompt has {tokens.base:,.0f} tokens and {tokens.per_event:.1f} for each event (measured on this data, "
        f"{counted}); an answer {tokens.profile:,.0f} ({length})",
        f"users have {events:.1f} events in a prompt and make {a_day:g} a day",
        f"rates: {rates}",
        f"prices, as stated: ${prices.usd_per_million_input:g} and ${prices.usd_per_million_output:g} a million, "
        f"${prices.usd_per_gpu_hour:g} a GPU hour, {prices.gpus} GPUs, {prices.cached_share:.0%} of the prompts cached",
    ]
