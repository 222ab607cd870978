"""Settings of students by the size of the data: rules of thumb measured on public data sets, each with its reason."""

from dataclasses import dataclass
from typing import Any

from retort.shared.base.errors import RecipeError

# texts that the packaged encoder encodes in a second on a core, measured on short product titles
_TEXTS_PER_S = 45
_TEXT_SHARE = 0.2  # of the time budget that encoding may take
_TRAIN_SHARE = 0.36  # of the time budget that each of two students may train
_ALONE_SHARE = 0.7  # the same, without texts there is one student
_MANY_EVENTS = 30  # events an item, from which on data are dense
LEAST_MINUTES, MOST_MINUTES = 0.2, 100_000
TEXT_RMS = "objectives.0.rms"


def check_minutes(minutes: float) -> None:
    """Raise RecipeError for a time budget that is none."""
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise RecipeError(f"minutes = {minutes:g} is no time budget; choose {LEAST_MINUTES:g} to {MOST_MINUTES:,}.")


@dataclass(frozen=True)
class Size:
    """Size of a data set. typical_length: events of a user at the 90th percentile."""

    events: int
    users: int
    items: int
    typical_length: int

    @property
    def events_per_item(self) -> float:
        """Mean number of events of an item."""
        return self.events / max(1, self.items)


@dataclass(frozen=True)
class Setting:
    """A recipe key, its value and why."""

    key: str
    value: Any
    reason: str


def choose_settings(size: Size, minutes: float, *, texts: bool) -> list[Setting]:
    """Choose student and training for a time budget of all steps together.

    Args:
        size: Size of the data after filters.
        minutes: Time budget.
        texts: Whether items have texts, so that a second student starts from them.
    """
    length = next((limit for limit in (20, 50, 100) if size.typical_length <= limit), 200)
    dropout = 0.5 if size.events_per_item < _MANY_EVENTS else 0.2 if size.events_per_item < 150 else 0.1
    batch = (
        32 if size.users < 8_000 and length >= 100 else 64 if size.users < 5_000 else 128 if size.events < 1e6 else 256
    )
    share = _TRAIN_SHARE if texts else _ALONE_SHARE
    return [
        Setting("student.max_length", length, f"nine of ten users have at most {size.typical_length} events"),
        Setting("student.dropout", dropout, f"{size.events_per_item:.0f} events an item: the fewer, the higher"),
        Setting("training.batch_size", batch, f"{size.users:,} users, {size.events:,} events"),
        Setting("training.max_minutes", round(minutes * share, 2), f"a share of the {minutes:g} minutes in all"),
        *([_encoder(size, minutes), text_rms(size)] if texts else []),
    ]


def text_rms(size: Size) -> Setting:
    """Choose how strong the texts are at the start: where items have many events, a small start is left sooner."""
    rms = 0.15 if size.events_per_item < _MANY_EVENTS else 0.05
    return Setting(TEXT_RMS, rms, f"{size.events_per_item:.0f} events an item: .15 for few, .05 for many")


def _encoder(size: Size, minutes: float) -> Setting:
    seconds = size.items / _TEXTS_PER_S
    if seconds <= minutes * 60 * _TEXT_SHARE:
        return Setting("encoder.model", "packaged-minilm", f"{size.items:,} texts take about {seconds:.0f} s")
    return Setting(
        "encoder.model",
        "tfidf",
        f"word counts: the packaged encoder would need {seconds / 60:.0f} minutes for {size.items:,} texts; "
        "'packaged-minilm' is the choice for more time",
    )
