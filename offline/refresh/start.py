"""Start of a refresh: users are selected by the policy, their histories are frozen, and the refresh is created."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from retort.offline.data.interactions import Items
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.profiles.backends import template
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens
from retort.offline.profiles.config import (
    IMPORTED,
    TEMPLATE,
    ProfilesConfig,
    backend_name,
    combination_writer,
    open_catalogue,
    prompt_writers,
)
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.population import count_population
from retort.offline.profiles.store import ProfileKey, ProfileStore
from retort.offline.refresh.cost import TokenModel, calibrate
from retort.offline.refresh.items import freeze_items
from retort.offline.refresh.jobs import create_item_job, create_job
from retort.offline.refresh.policy import RefreshPolicy, select_requests
from retort.offline.refresh.snapshot import Snapshot, write_snapshot
from retort.offline.refresh.staleness import Staleness, measure_staleness
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.models import now
from retort.shared.profiles.refreshes import UNFINISHED, RefreshBusyError, read_jobs

_SAMPLE = 200


class NoUserDueError(ProfileError):
    """No profile is due by the policy. For a scheduled refresh this is no failure."""


@dataclass(frozen=True)
class Refresh:
    """Inputs of a refresh. histories: called for each pass, because all histories may not fit into memory."""

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
    """Create a refresh and its chunks. Returns its id.

    Raises:
        RefreshBusyError: a refresh of the same name is not finished. Celery beat may send a message twice.
    """
    refuse_busy(engine, refresh.name)
    return create_job(
        engine,
        refresh.name,
        refresh.profiles,
        freeze_users(engine, refresh, folder, settings),
        budget_tokens=refresh.budget_tokens,
        budget_usd=refresh.budget_usd,
        origin=origin,
    )


def refuse_busy(engine: Engine, name: str) -> None:
    """Raise RefreshBusyError if a refresh of this name is not finished."""
    for job in read_jobs(engine):
        if job.name == name and job.status in UNFINISHED:
            raise RefreshBusyError(
                f"refresh {job.id[:8]} of {job.name} is still {job.status}; wait for it or cancel it."
            )


def start_item_refresh(
    engine: Engine,
    name: str,
    items: Items,
    knowledge: KnowledgeConfig,
    folder: Path,
    settings: LanguageModelSettings,
    origin: Mapping[str, Any] | None = None,
    budget: tuple[int | None, float | None] = (None, None),
) -> str:
    """Create a refresh of the items that are new or have changed, and its chunks. Returns its id.

    Raises:
        RefreshBusyError: a refresh of the same name is not finished.
        NoItemDueError: every item has a text.
    """
    refuse_busy(engine, name)
    snapshot = freeze_items(engine, items, knowledge, folder, settings)
    tokens, usd = budget
    return create_item_job(engine, name, knowledge, snapshot, budget_tokens=tokens, budget_usd=usd, origin=origin)


def freeze_users(engine: Engine, refresh: Refresh, folder: Path, settings: LanguageModelSettings) -> Snapshot:
    """Write a snapshot of the users that are due and their histories. Raises NoUserDueError if none is due."""
    if refresh.profiles.backend == IMPORTED:
        raise ProfileError(
            f"recipe {refresh.name} imports profiles from a file, but a refresh requires a model; "
            "add --set profiles.backend=openai (or vllm, template)."
        )
    catalogue = open_catalogue(refresh.items, refresh.profiles)
    requests = select_requests(
        _measure(refresh, catalogue, ProfileStore(engine), settings),
        refresh.policy,
        now(),
        token_model(refresh.histories(), catalogue, refresh.profiles),
        refresh.profiles.max_history,
    )
    if not requests:
        raise NoUserDueError(f"no user's profile is due by the policy {refresh.policy.name!r}; no refresh was started.")
    root = folder / "refresh" / f"{now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    population = count_population(refresh.histories(), catalogue)
    return write_snapshot(root, requests, refresh.items, refresh.profiles.chunk_users, population)


def _measure(
    refresh: Refresh, catalogue: Catalogue, store: ProfileStore, settings: LanguageModelSettings
) -> Iterator[Staleness]:
    key, any_model = latest_key(refresh.profiles, settings)
    return measure_staleness(_candidates(refresh), catalogue, store, key, any_model=any_model)


def _candidates(refresh: Refresh) -> Iterator[UserHistory]:
    """Iterate over all users, or the listed ones. Raises ProfileError if a listed user has no history."""
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
            f"(like {min(missing)!r}); remove them from the list."
        )


def latest_key(config: ProfilesConfig, settings: LanguageModelSettings) -> tuple[ProfileKey, bool]:
    """Return the key under which profiles are found without loading a model, and whether profiles of any model count.

    The latter is the case if only the server knows the name of its model.
    """
    writer = combination_writer(config) or prompt_writers(config)[0]
    named, revision = config.options.get("model"), config.options.get("revision")
    named = f"{named}@{revision}" if named and revision else named
    model = template.MODEL if backend_name(config, settings) == TEMPLATE else named
    key = ProfileKey(writer.aspect, writer.version, str(model or ""), hash_json(config.parameters))
    return key, model is None


def token_model(
    histories: Iterable[UserHistory],
    catalogue: Catalogue,
    config: ProfilesConfig,
    answer_tokens: float | None = None,
    count: TokenCounter = estimate_tokens,
) -> TokenModel:
    """Fit the tokens of prompts on the first users. An answer of unknown length counts half of its limit."""
    sample = [history for _, history in zip(range(_SAMPLE), histories, strict=False)]
    return calibrate(sample, catalogue, config, answer_tokens or config.max_output_tokens / 2, count)
