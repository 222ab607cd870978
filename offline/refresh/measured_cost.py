"""Measured cost of profiles: token counts of stored profiles and rates of finished refresh chunks."""

from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.offline.refresh.cost import TokenModel
from retort.shared.db.models import DONE, Profile, RefreshChunk, RefreshJob
from retort.shared.db.session import reading

_CHUNKS = 10_000  # the latest ones show the present rate
_UNLIMITED = 10**9  # more events than any history has


@dataclass(frozen=True)
class MeasuredCost:
    """Means over stored profiles, and the rates of one worker; None where unknown.

    Attributes:
        prompt_tokens: Mean prompt length of a profile that was written from `n_events` events.
        models: The language models that wrote the profiles.
    """

    answer_tokens: float | None
    prompt_tokens_per_s: float | None
    answer_tokens_per_s: float | None
    prompt_tokens: float | None = None
    n_events: float | None = None
    models: tuple[str, ...] = ()


def measure_cost(engine: Engine, model: str | None = None, max_history: int | None = None) -> MeasuredCost:
    """Measure stored profiles and finished chunks.

    Args:
        model: Measure this language model alone; None: all that count their tokens.
        max_history: Number of newest events of a history that a prompt contains.

    Returns:
        Means and rates; the rates are of one worker that reads and writes at the same time.
    """
    counted = [Profile.status == DONE, Profile.completion_tokens > 0]
    if model is not None:
        counted.append(Profile.model == model)
    longest = max_history or _UNLIMITED
    n_read = sa.case((Profile.n_events > longest, longest), else_=Profile.n_events)
    columns = (Profile.completion_tokens, Profile.prompt_tokens, n_read)
    with reading(engine) as session:
        means = session.execute(sa.select(*(sa.func.avg(column) for column in columns)).where(*counted)).one()
        models = tuple(session.scalars(sa.select(Profile.model).where(*counted).distinct().order_by(Profile.model)))
        seconds, prompt, answer = _worked(session, model)
    answer_tokens, prompt_tokens, n_events = (None if mean is None else float(mean) for mean in means)
    # The time is one sum: both rates twice as high, one after the other, give the same.
    read, written = (2 * prompt / seconds, 2 * answer / seconds) if seconds else (None, None)
    return MeasuredCost(answer_tokens, read, written, prompt_tokens, n_events, models)


def _worked(session: Session, model: str | None) -> tuple[float, float, float]:
    """Seconds, tokens read and tokens written of chunks that were done at the first attempt."""
    seconds = prompt = answer = 0.0
    query = sa.select(RefreshChunk, RefreshJob.spec).join(RefreshJob, RefreshJob.id == RefreshChunk.job_id)
    done = query.where(RefreshChunk.status == DONE, RefreshChunk.attempts == 1, RefreshChunk.completion_tokens > 0)
    for row, spec in session.execute(done.order_by(RefreshChunk.ended_at.desc()).limit(_CHUNKS)):
        chunk_model = spec.get("profiles", {}).get("options", {}).get("model")
        if row.started_at and row.ended_at and (model is None or chunk_model in (None, model)):
            seconds += (row.ended_at - row.started_at).total_seconds()
            prompt, answer = prompt + row.prompt_tokens, answer + row.completion_tokens
    return seconds, prompt, answer


def rescale_tokens(tokens: TokenModel, measured: MeasuredCost) -> TokenModel:
    """Scale the line through estimated prompts to the model's own counts for histories of the measured length."""
    if not measured.prompt_tokens or not measured.n_events:
        return tokens
    share = measured.prompt_tokens / (tokens.prompt(round(measured.n_events), update=False) / tokens.texts)
    return replace(tokens, base=tokens.base * share, per_event=tokens.per_event * share)
