"""Prompt plans: which prompts lead to one profile when its history may not fit into the context.

Each plan is a generator: it yields the prompts to be answered next, receives their texts and returns the profile.
It does not know the model, nor how many plans run at once.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Literal

from retort.offline.profiles.backends._base import Prompt
from retort.offline.profiles.history import Event
from retort.offline.profiles.prompt import PromptWriter
from retort.shared.base.errors import ProfileError

Mode = Literal["agg_after", "agg_with"]
PromptPlan = Generator[list[Prompt], list[str], str]
Fits = Callable[[Prompt], bool]


def plan_profile(writer: PromptWriter, events: Sequence[Event], mode: Mode, fits: Fits) -> PromptPlan:
    """Plan one profile of one aspect.

    Args:
        fits: Whether a prompt fits into the model's context.

    Raises:
        ProfileError: A prompt with a single event does not fit.
    """
    if mode == "agg_with":
        return (yield from _plan_updated(writer, events, fits))
    return (yield from _plan_merged(writer, events, fits))


def plan_update(
    writer: PromptWriter, prior: str, events: Sequence[Event], n_new: int, mode: Mode, fits: Fits
) -> PromptPlan:
    """Plan the update of an earlier profile by the last `n_new` events; reads all events where both do not fit."""
    prompt = writer.update(prior, events[-n_new:])
    if not fits(prompt):
        return (yield from plan_profile(writer, events, mode, fits))
    (text,) = yield [prompt]
    return text


def plan_combination(writer: PromptWriter, parts: dict[str, str], events: Sequence[Event], fits: Fits) -> PromptPlan:
    """Plan one profile that combines the profiles of several aspects."""
    prompt = writer.combine(parts, events)
    if not fits(prompt):
        raise ProfileError(
            f"the profiles of {len(parts)} aspects do not fit into the model's context together; "
            "name fewer in [profiles] aspects or lower max_output_tokens."
        )
    (text,) = yield [prompt]
    return text


def _plan_merged(writer: PromptWriter, events: Sequence[Event], fits: Fits) -> PromptPlan:
    """Halve the events until each part fits, write a profile of each part, merge these in time order."""
    prompts = _prompts_that_fit(writer, list(events), fits)
    texts = yield prompts
    chunks = [list(prompt.events) for prompt in prompts]
    return (yield from _merge(writer, list(zip(texts, chunks, strict=True)), fits))


def _prompts_that_fit(writer: PromptWriter, events: list[Event], fits: Fits) -> list[Prompt]:
    if fits(prompt := writer.write(events)):
        return [prompt]
    first, second = _halves(events)
    return _prompts_that_fit(writer, first, fits) + _prompts_that_fit(writer, second, fits)


def _merge(writer: PromptWriter, parts: list[tuple[str, list[Event]]], fits: Fits) -> PromptPlan:
    """Merge profiles; a merging prompt that does not fit is merged half by half."""
    if len(parts) == 1:
        return parts[0][0]
    events = [event for _, of_part in parts for event in of_part]
    prompt = writer.merge([text for text, _ in parts], events)
    if fits(prompt):
        (text,) = yield [prompt]
        return text
    if len(parts) == 2:
        raise ProfileError(
            "two profiles do not fit into the model's context together; lower [profiles] max_output_tokens."
        )
    middle = len(parts) // 2
    merged = []
    for half in (parts[:middle], parts[middle:]):
        text = yield from _merge(writer, half, fits)
        merged.append((text, [event for _, of_part in half for event in of_part]))
    return (yield from _merge(writer, merged, fits))


def _plan_updated(writer: PromptWriter, events: Sequence[Event], fits: Fits) -> PromptPlan:
    """Read the history in order and update one profile with each part; a part that does not fit is halved."""
    profile: str | None = None
    pending = [list(events)]
    while pending:
        part = pending.pop(0)
        prompt = writer.write(part) if profile is None else writer.update(profile, part)
        if fits(prompt):
            (profile,) = yield [prompt]
        else:
            pending = [*_halves(part), *pending]
    assert profile is not None
    return profile


def _halves(events: list[Event]) -> tuple[list[Event], list[Event]]:
    if len(events) == 1:
        raise ProfileError(
            "a prompt with a single event does not fit into the model's context; lower [profiles] item_text_chars or "
            "max_output_tokens, name fewer attributes, or use a model with a longer context."
        )
    middle = len(events) // 2
    return events[:middle], events[middle:]
