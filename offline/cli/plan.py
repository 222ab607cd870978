"""The `retort plan` command: the cost of refreshes by policy, from measured prompts and given prices."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from retort.offline.cli._options import AsJson, DataDir, OutDir, Overrides, RecipeName
from retort.offline.common.terminal import TerminalProgress, print_json, show_rows
from retort.shared.base.errors import RecipeError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from retort.offline.refresh.cost import Plan, Prices, Storage, TokenModel
    from retort.offline.refresh.measured_cost import MeasuredCost

_DAYS = 365
_TEXT_BYTES_PER_TOKEN = 4.5
_NUMBERS = ("profiles", "prompt_tokens", "answer_tokens", "api_usd", "gpu_hours", "gpu_usd", "wall_hours")


def plan(
    recipe: RecipeName,
    users: Annotated[int, typer.Option(help="number of users")],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    answer_tokens: Annotated[
        float | None, typer.Option(help="mean length of a profile in tokens; unset: that of the stored profiles")
    ] = None,
    new_events_a_day: Annotated[float, typer.Option(help="mean new events of a user")] = 0.5,
    width: Annotated[
        int | None, typer.Option(help="width of a stored vector; unset: that of the recipe's reducer")
    ] = None,
    input_price: Annotated[float, typer.Option(help="USD a million prompt tokens")] = 0.0,
    cached_price: Annotated[
        float | None,
        typer.Option(help="USD a million prompt tokens from the cache (--cached-share); unset: as --input-price"),
    ] = None,
    output_price: Annotated[float, typer.Option(help="USD a million answer tokens")] = 0.0,
    gpu_price: Annotated[float, typer.Option(help="USD a GPU hour")] = 0.0,
    gpus: Annotated[int, typer.Option(help="number of GPUs")] = 1,
    prompt_rate: Annotated[
        float | None, typer.Option(help="prompt tokens/s of a GPU; unset: from the last refresh")
    ] = None,
    answer_rate: Annotated[
        float | None, typer.Option(help="answer tokens/s of a GPU; unset: from the last refresh")
    ] = None,
    cached_share: Annotated[float, typer.Option(help="share of prompt tokens saved by prefix caching")] = 0.0,
    model: Annotated[str | None, typer.Option(help="calibrate with this model's profiles and jobs alone")] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate tokens, GPU hours, money, storage and time of each refresh policy, for any number of users."""
    from retort.offline.refresh.cost import Prices

    prices = Prices(
        usd_per_million_input=input_price,
        usd_per_million_cached_input=cached_price,
        usd_per_million_output=output_price,
        usd_per_gpu_hour=gpu_price,
        gpus=gpus,
        prompt_tokens_per_s=prompt_rate,
        answer_tokens_per_s=answer_rate,
        cached_share=cached_share,
    )
    _show_plan(
        recipe,
        data,
        out,
        overrides or [],
        users,
        answer_tokens,
        new_events_a_day,
        width,
        prices,
        model,
        as_json=as_json,
    )


def _show_plan(
    reference: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    users: int,
    answer_tokens: float | None,
    new_events_a_day: float,
    width: int | None,
    prices: "Prices",
    model: str | None = None,
    *,
    as_json: bool = False,
) -> None:
    """Measure the recipe's prompts, plan every policy with them, and print the plan."""
    import numpy as np

    from retort.offline.data.split_store import load_split
    from retort.offline.pipeline.build import load_pipeline
    from retort.offline.pipeline.context import load_items, load_tables
    from retort.offline.profiles.config import open_catalogue
    from retort.offline.profiles.history import user_histories
    from retort.offline.refresh.cost import plan_storage
    from retort.offline.refresh.measured_cost import rescale_tokens
    from retort.offline.refresh.start import token_model

    if users < 1:
        raise RecipeError(f"--users is {users}; plan for at least one user.")
    with TerminalProgress() as progress:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        interactions, split = load_tables(pipeline).interactions, load_split(pipeline.ensure_path("split"))
        items = load_items(pipeline)
    config = pipeline.context.recipe.profiles
    measured = _measure(pipeline.context.engine, model, config.max_history)
    catalogue = open_catalogue(items, config)
    histories = user_histories(split, interactions)
    estimated = token_model(histories, catalogue, config, answer_tokens or measured.answer_tokens)
    tokens = rescale_tokens(estimated, measured)
    prices = prices.model_copy(
        update={
            "prompt_tokens_per_s": prices.prompt_tokens_per_s or measured.prompt_tokens_per_s,
            "answer_tokens_per_s": prices.answer_tokens_per_s or measured.answer_tokens_per_s,
        }
    )
    lengths = split.train.lengths[split.train.lengths > 0]
    events = float(np.minimum(lengths, config.max_history or lengths.max()).mean())
    plans = _plans(users, events, new_events_a_day, tokens, prices)
    width = width or pipeline.context.recipe.reducer.n_components
    storage = plan_storage(users, tokens.answer() * _TEXT_BYTES_PER_TOKEN, width, events)
    assumptions = _assumptions(events, new_events_a_day, tokens, prices, measured)
    _print_plan(users, plans, storage, assumptions, as_json=as_json)


def _print_plan(users: int, plans: list["Plan"], storage: "Storage", assumptions: list[str], *, as_json: bool) -> None:
    """Print the cost of each policy, the storage and the assumptions."""
    rows = _plan_rows(plans)
    if as_json:
        content = {"users": users, "policies": rows, "storage_bytes": asdict(storage), "assumptions": assumptions}
        print_json(content)
        return
    show_rows(rows, f"{users:,} users", formats=dict.fromkeys(_NUMBERS, _short))
    for sentence in (_storage_line(storage), *assumptions):
        Console().print(sentence, markup=False, highlight=False, soft_wrap=True)


def _measure(engine: "Engine", model: str | None, max_history: int | None) -> "MeasuredCost":
    """Measured cost of all language models, or of one, which must have written profiles."""
    from retort.offline.refresh.measured_cost import measure_cost

    measured = measure_cost(engine, model, max_history)
    if model is not None and not measured.models:
        raise RecipeError(
            f"no stored profile was written by {model!r} with its tokens counted; refresh some users with it first "
            "(`retort refresh start … --users FILE`), or omit --model and give --prompt-rate and --answer-rate."
        )
    return measured


def _plans(users: float, events: float, a_day: float, tokens: "TokenModel", prices: "Prices") -> list["Plan"]:
    """One refresh of all users, and a year of each policy."""
    from retort.offline.refresh.cost import plan_policy

    month, growth = 30 * a_day, max(1.0, 0.5 * events)
    return [
        plan_policy("all users, once", users, events, False, tokens, prices),
        plan_policy("year: all users monthly", users * 12, events, False, tokens, prices),
        plan_policy("year: monthly, updates", users * 12, month, True, tokens, prices),
        plan_policy("year: every 10 new events", users * _DAYS * a_day / 10, events, False, tokens, prices),
        plan_policy("year: every 10, updates", users * _DAYS * a_day / 10, 10, True, tokens, prices),
        plan_policy("year: history grown by half", users * _DAYS * a_day / growth, events, False, tokens, prices),
    ]


def _plan_rows(plans: list["Plan"]) -> list[dict[str, object]]:
    return [
        {
            "policy": plan.policy,
            "profiles": plan.refreshes,
            "prompt_tokens": plan.prompt_tokens,
            "answer_tokens": plan.answer_tokens,
            "api_usd": plan.api_usd,
            "gpu_hours": plan.gpu_hours,
            "gpu_usd": plan.gpu_usd,
            "wall_hours": plan.wall_hours,
        }
        for plan in plans
    ]


def _short(number: float | None) -> str:
    """1,825,000,000 → 1.83 G; small numbers as they are."""
    if number is None:
        return "–"
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / limit if letter != 'k' else number / 1e3:.3g} {letter}"
    return f"{number:,.1f}" if number % 1 else f"{number:,.0f}"


def _storage_line(storage: "Storage") -> str:
    return (
        f"storage: database {storage.database / 1e9:,.1f} GB, vectors {storage.vectors / 1e9:,.1f} GB (reduced; the "
        f"encoder's full vectors come on top), histories in Redis {storage.redis / 1e9:,.1f} GB"
    )


def _assumptions(
    events: float, a_day: float, tokens: "TokenModel", prices: "Prices", measured: "MeasuredCost"
) -> list[str]:
    length = "stored profiles" if measured.answer_tokens else "half of max_output_tokens, or as given"
    rates = (
        "unknown: give --prompt-rate and --answer-rate, or refresh some users first with a backend that counts "
        "tokens (openai or vllm; template counts none)"
    )
    if prices.prompt_tokens_per_s and prices.answer_tokens_per_s:
        rates = f"{prices.prompt_tokens_per_s:,.0f} tokens/s read, {prices.answer_tokens_per_s:,.0f} written, of a GPU"
    if measured.prompt_tokens_per_s and prices.prompt_tokens_per_s == measured.prompt_tokens_per_s:
        rates += " (measured: one worker's time is divided equally between both)"
    counted = f"as counted by {', '.join(measured.models)}" if measured.models else "by a careful estimate of tokens"
    return [
        f"a prompt has {tokens.base:,.0f} tokens and {tokens.per_event:.1f} for each event (measured on this data, "
        f"{counted}); an answer {tokens.profile:,.0f} ({length})",
        f"users have {events:.1f} events in a prompt and make {a_day:g} a day",
        f"rates: {rates}",
        f"prices, as given: ${prices.usd_per_million_input:g} and ${prices.usd_per_million_output:g} a million, "
        f"${prices.usd_per_gpu_hour:g} a GPU hour, {prices.gpus} GPUs, {prices.cached_share:.0%} of the prompts cached",
    ]
