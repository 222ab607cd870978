"""Exposures: the lists shown to users; serving writes them to a stream, a job drains it into the database.

Unlike events, which are never dropped, exposures are bounded: they wait in batches on their own stream, which drops the
oldest batches if no process drains it. Training uses them to know what a user could have chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import RedisError

from retort.shared.base.errors import StoreError
from retort.shared.events.events import remedy
from retort.shared.history import keys

FIELD = "exposures"


@dataclass(frozen=True, slots=True)
class Exposure:
    """A list that was returned to a client; first_rank: rank of its first item, which continues over pages."""

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
        """Time of the exposure, under the name that events use: an erasure deletes earlier rows."""
        return self.shown_ms


class ExposureWriter:
    """Writer of exposures, for serving, over redis-py's asyncio client."""

    def __init__(self, client: Any, kept: int) -> None:
        """Create a writer.

        Args:
            kept: Batches on the stream before the oldest are dropped.
        """
        self._client = client
        self._kept = kept

    async def add(self, batches: Sequence[Sequence[Exposure]]) -> None:
        """Add batches to the stream, one entry each, in one round trip.

        Raises:
            StoreError: Redis is unavailable.
        """
        try:
            pipeline = self._client.pipeline(transaction=False)
            for batch in batches:
                line = orjson.dumps(list(batch))  # dataclasses directly: dictionaries would cost twenty times as much
                pipeline.xadd(keys.exposure_stream(), {FIELD: line}, maxlen=self._kept, approximate=True)
            await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(
                f"exposures could not be added to the stream ({type(error).__name__}); "
                f"{remedy(error, keys.exposure_stream())}."
            ) from error


def read_exposures(raw: dict[bytes, bytes]) -> list[Exposure]:
    """Parse the exposures of a stream entry.

    Raises:
        KeyError, TypeError, JSONDecodeError: The entry is malformed.
    """
    return [
        Exposure(**{**fields, "item_ids": tuple(fields["item_ids"])}) for fields in orjson.loads(raw[FIELD.encode()])
    ]
