"""What was shown to whom: serving writes it beside its answers, a job brings it to the database.

Unlike events, which are never dropped, exposures are bounded: they wait in batches on a stream of their own, and where
nobody drains it the oldest batches give way. Training uses them to know what a person could have chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import RedisError

from retort.shared.base.errors import StoreError
from retort.shared.history import keys

FIELD = "exposures"


@dataclass(frozen=True, slots=True)
class Exposure:
    """One list that was given to a caller. `first_rank`: the place of its first item; pages go on counting."""

    request_id: str
    tenant: str
    shown_ms: int
    source: str
    item_ids: tuple[str, ...]
    first_rank: int = 1
    user_id: str | None = None
    session_id: str | None = None
    reason: str | None = None
    model: str | None = None
    version: str | None = None
    experiment: str | None = None
    variant: str | None = None

    @property
    def accepted_ms(self) -> int:
        """When it happened, as events call it: an erasure forgets what came before it."""
        return self.shown_ms


class ExposureWriter:
    """Serving's side, over redis-py's asyncio client. `kept`: batches on the stream before the oldest give way."""

    def __init__(self, client: Any, kept: int) -> None:
        self._client = client
        self._kept = kept

    async def add(self, batches: Sequence[Sequence[Exposure]]) -> None:
        """Put batches on the stream, one entry each, in one round trip."""
        try:
            pipeline = self._client.pipeline(transaction=False)
            for batch in batches:
                line = orjson.dumps(list(batch))  # dataclasses natively: as dictionaries they cost twenty times as much
                pipeline.xadd(keys.exposure_stream(), {FIELD: line}, maxlen=self._kept, approximate=True)
            await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(
                f"exposures could not be put on the stream ({type(error).__name__}); is Redis up?"
            ) from error


def read_exposures(raw: dict[bytes, bytes]) -> list[Exposure]:
    """The exposures of one entry; KeyError, TypeError or JSONDecodeError where it is none."""
    return [
        Exposure(**{**fields, "item_ids": tuple(fields["item_ids"])}) for fields in orjson.loads(raw[FIELD.encode()])
    ]
