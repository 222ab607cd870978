"""Refresh policies: which users get a new profile, and in which order."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Literal

from pydantic import Field

from retort.offline.common.section import Section
from retort.offline.refresh.snapshot import ProfileRequest
from retort.offline.refresh.staleness import Staleness

PolicyName = Literal["all", "schedule", "events", "drift", "budgeted"]
# Estimates the tokens of prompt and answer from the number of events read and whether the old profile is updated.
TokenEstimate = Callable[[int, bool], float]


class RefreshPolicy(Section):
    """The policy of `retort refresh --policy …`: when a profile is stale."""

    name: PolicyName = Field("all", description="all: users without a profile of exactly this history")
    max_age_days: float = Field(30.0, gt=0, description="schedule: older profiles are written again")
    min_new_events: int = Field(5, ge=1, description="events: new events since the profile that make it stale")
    min_drift: float = Field(0.1, ge=0, le=1, description="drift: 1 - cosine of the history's categories then and now")
    max_tokens: int | None = Field(None, ge=1, description="budgeted: tokens that this refresh may use")
    update: bool = Field(False, description="update the old profile with new events (agg_with), do not read all events")
    reread_after: float = Field(1.0, gt=0, description="update: a history that grew by more is read as a whole")
    order: Literal["worth", "given"] = Field(
        "worth", description="worth: users with the highest priority first; given: order of the data"
    )


def select_requests(
    users: Iterable[Staleness], policy: RefreshPolicy, at: datetime, estimate: TokenEstimate, max_history: int | None
) -> list[ProfileRequest]:
    """Select the users whose profiles are due.

    Args:
        at: the present time.
        max_history: events that a prompt reads at most.

    Returns:
        Requests in the order of the policy. With `budgeted`, as many as its tokens pay for.
    """
    due = [user for user in users if _is_due(user, policy, at)]
    if policy.order == "worth" or policy.name == "budgeted":
        # users of equal rank are ordered by id, so the same data gives the same order
        due.sort(key=lambda user: (-_rank(user, policy, estimate, max_history), user.history.user_id))
    requests = [_request(user, policy) for user in due]
    if policy.name != "budgeted" or policy.max_tokens is None:
        return requests
    return list(_affordable(requests, policy.max_tokens, estimate, max_history))


def _is_due(user: Staleness, policy: RefreshPolicy, at: datetime) -> bool:
    if user.latest is None or policy.name == "all":
        return True
    if policy.name == "schedule":
        return user.days(at) > policy.max_age_days
    if policy.name == "events":
        return user.n_new >= policy.min_new_events
    if policy.name == "drift":
        return user.n_new > 0 and user.drift >= policy.min_drift
    return user.n_new > 0


def _rank(user: Staleness, policy: RefreshPolicy, estimate: TokenEstimate, max_history: int | None) -> float:
    """Return the priority; with a budget, the priority per token."""
    if policy.name != "budgeted":
        return user.priority
    return user.priority / tokens_of(_request(user, policy), estimate, max_history)


def _request(user: Staleness, policy: RefreshPolicy) -> ProfileRequest:
    n_covered = user.latest.n_events if user.latest is not None else None
    is_update = policy.update and n_covered and 0 < user.n_new <= policy.reread_after * n_covered
    if not is_update or user.latest is None:
        return ProfileRequest(user.history)
    return ProfileRequest(user.history, user.latest.text, n_covered or 0)


def tokens_of(request: ProfileRequest, estimate: TokenEstimate, max_history: int | None) -> float:
    """Estimate the tokens of one user's profile."""
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
