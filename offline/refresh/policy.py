"""Who gets a new profile, and in which order: fixed schedule, event count, drift, or what a budget buys."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Literal

from pydantic import Field

from retort.offline.common.section import Section
from retort.offline.refresh.snapshot import ProfileRequest
from retort.offline.refresh.staleness import Age

PolicyName = Literal["all", "schedule", "events", "drift", "budgeted"]
# From a user's events that are read, and whether a profile is carried on: tokens of the prompt and the answer.
TokenEstimate = Callable[[int, bool], float]


class RefreshPolicy(Section):
    """`retort refresh --policy …`: when a profile is too old."""

    name: PolicyName = Field("all", description="all: whoever has no profile of exactly this history")
    max_age_days: float = Field(30.0, gt=0, description="schedule: older profiles are written anew")
    min_new_events: int = Field(5, ge=1, description="events: this many since the profile")
    min_drift: float = Field(0.1, ge=0, le=1, description="drift: 1 - cosine of the history's categories then and now")
    max_tokens: int | None = Field(None, ge=1, description="budgeted: what this refresh may use")
    update: bool = Field(False, description="carry the old profile on (agg_with) instead of reading everything again")
    reread_after: float = Field(1.0, gt=0, description="update: a history that grew by more than this is read anew")
    order: Literal["worth", "given"] = Field("worth", description="whose profile matters most comes first")


def choose(
    ages: Iterable[Age], policy: RefreshPolicy, at: datetime, estimate: TokenEstimate, max_history: int | None
) -> list[ProfileRequest]:
    """The users whose turn it is, the most worthwhile first. `at`: now. max_history: events that a prompt reads."""
    due = [age for age in ages if _is_due(age, policy, at)]
    if policy.order == "worth" or policy.name == "budgeted":
        # equal worth by id: the same data gives the same order
        due.sort(key=lambda age: (-_rank(age, policy, estimate, max_history), age.history.user_id))
    requests = [_request(age, policy) for age in due]
    if policy.name != "budgeted" or policy.max_tokens is None:
        return requests
    return list(_affordable(requests, policy.max_tokens, estimate, max_history))


def _is_due(age: Age, policy: RefreshPolicy, at: datetime) -> bool:
    if age.latest is None or policy.name == "all":
        return True
    if policy.name == "schedule":
        return age.days(at) > policy.max_age_days
    if policy.name == "events":
        return age.n_new >= policy.min_new_events
    if policy.name == "drift":
        return age.n_new > 0 and age.drift >= policy.min_drift
    return age.n_new > 0


def _rank(age: Age, policy: RefreshPolicy, estimate: TokenEstimate, max_history: int | None) -> float:
    """Worth; where a budget is spent, worth for a token."""
    if policy.name != "budgeted":
        return age.priority
    return age.priority / tokens_of(_request(age, policy), estimate, max_history)


def _request(age: Age, policy: RefreshPolicy) -> ProfileRequest:
    covered = age.latest.n_events if age.latest is not None else None
    carried = policy.update and covered and 0 < age.n_new <= policy.reread_after * covered
    if not carried or age.latest is None:
        return ProfileRequest(age.history)
    return ProfileRequest(age.history, age.latest.text, covered or 0)


def tokens_of(request: ProfileRequest, estimate: TokenEstimate, max_history: int | None) -> float:
    """What one user's profile is expected to use."""
    n_events = len(request.history.item_ids) - request.n_covered
    return estimate(min(n_events, max_history or n_events), request.profile is not None)


def _affordable(
    requests: Iterable[ProfileRequest], max_tokens: int, estimate: TokenEstimate, max_history: int | None
) -> Iterator[ProfileRequest]:
    left = float(max_tokens)
    for request in requests:
        left -= tokens_of(request, estimate, max_history)
        if left < 0:
            return
        yield request
