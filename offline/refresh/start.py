"""From a recipe's data to a job: whose turn it is by the policy, frozen with their histories, written down."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from retort.offline.data.interactions import Items
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens
from retort.offline.profiles.backends.template import MODEL as TEMPLATE_MODEL
from retort.offline.profiles.config import IMPORTED, ProfilesConfig, backend_name, combination_writer, prompt_writers
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.store import ProfileKey, ProfileStore
from retort.offline.refresh.cost import TokenModel, calibrate
from retort.offline.refresh.jobs import create_job
from retort.offline.refresh.policy import RefreshPolicy, choose
from retort.offline.refresh.snapshot import Snapshot, write_snapshot
from retort.offline.refresh.staleness import Age, ages
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.models import now
from retort.shared.profiles.refreshes import UNFINISHED, RefreshBusyError, read_jobs

_SAMPLE = 200


class NobodyDueError(ProfileError):
    """By this policy there is nothing to write: no failure where a clock asks."""


@dataclass(frozen=True)
class Refresh:
    """What a refresh is made from. histories: called anew for each pass; they may be too many to keep."""

    name: str
    histories: Callable[[], Iterable[UserHistory]]
    items: Items
    profiles: ProfilesConfig
    policy: RefreshPolicy
    user_ids: frozenset[str] | None = None
    budget_tokens: int | None = None
    budget_usd: float | None = None


def start_refresh(
    engine: Engine,
    refresh: Refresh,
    folder: Path,
    settings: LanguageModelSettings,
    origin: Mapping[str, Any] | None = None,
) -> str:
    """Write the job down; its id. Raises RefreshBusyError while one of the same name is at work: beat sends twice."""
    for job in read_jobs(engine):
        if job.name == refresh.name and job.status in UNFINISHED:
            raise RefreshBusyError(
                f"refresh {job.id[:8]} of {job.name} is still {job.status}; wait for it or cancel it."
            )
    return create_job(
        engine,
        refresh.name,
        refresh.profiles,
        freeze(engine, refresh, folder, settings),
        budget_tokens=refresh.budget_tokens,
        budget_usd=refresh.budget_usd,
        origin=origin,
    )


def freeze(engine: Engine, refresh: Refresh, folder: Path, settings: LanguageModelSettings) -> Snapshot:
    """Choose who is due, and keep their histories as they are now. Raises NobodyDueError where there is none."""
    if refresh.profiles.backend == IMPORTED:
        raise ProfileError(
            f"recipe {refresh.name} takes ready profiles from a file; a refresh asks a model: "
            "--set profiles.backend=openai (or vllm, template)."
        )
    catalogue = Catalogue(refresh.items, refresh.profiles.attributes, refresh.profiles.item_text_chars)
    requests = choose(
        _ages(refresh, catalogue, ProfileStore(engine), settings),
        refresh.policy,
        now(),
        token_model(refresh.histories(), catalogue, refresh.profiles),
        refresh.profiles.max_history,
    )
    if not requests:
        raise NobodyDueError(f"nobody's profile is due by the policy {refresh.policy.name!r}; nothing was started.")
    root = folder / "refresh" / f"{now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    return write_snapshot(root, requests, refresh.items, refresh.profiles.chunk_users)


def _ages(
    refresh: Refresh, catalogue: Catalogue, store: ProfileStore, settings: LanguageModelSettings
) -> Iterator[Age]:
    key, any_model = latest_key(refresh.profiles, settings)
    return ages(_asked_for(refresh), catalogue, store, key, any_model=any_model)


def _asked_for(refresh: Refresh) -> Iterator[UserHistory]:
    """Everybody, or the users that were listed; one who has no history is named."""
    if refresh.user_ids is None:
        yield from refresh.histories()
        return
    missing = set(refresh.user_ids)
    for history in refresh.histories():
        if history.user_id in missing:
            missing.discard(history.user_id)
            yield history
    if missing:
        raise ProfileError(
            f"{len(missing)} of the {len(refresh.user_ids)} listed users have no train history "
            f"(like {min(missing)!r}); take them off the list."
        )


def latest_key(config: ProfilesConfig, settings: LanguageModelSettings) -> tuple[ProfileKey, bool]:
    """Under what profiles are found without loading a model; True: whoever wrote them, its name being unknown yet."""
    writer = combination_writer(config) or prompt_writers(config)[0]
    named, revision = config.options.get("model"), config.options.get("revision")
    named = f"{named}@{revision}" if named and revision else named
    model = TEMPLATE_MODEL if backend_name(config, settings) == "template" else named
    key = ProfileKey(writer.aspect, writer.version, str(model or ""), hash_json(config.parameters))
    return key, model is None


def token_model(
    histories: Iterable[UserHistory],
    catalogue: Catalogue,
    config: ProfilesConfig,
    answer_tokens: float | None = None,
    count: TokenCounter = estimate_tokens,
) -> TokenModel:
    """Fitted on the first users; an answer is taken for half of what it may be, unless its length is known."""
    sample = [history for _, history in zip(range(_SAMPLE), histories, strict=False)]
    return calibrate(sample, catalogue, config, answer_tokens or config.max_output_tokens / 2, count)
