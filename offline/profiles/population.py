"""Population: how often categories occur among all users' events, which a user's own shares are compared with."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.item_facts import Facet


@dataclass(frozen=True)
class Population:
    """Shares over the events of all users.

    Attributes:
        shares: Category → share of the events whose items have it.
        mean_weight: Mean rating; None where none is known.
    """

    shares: Mapping[Facet, float]
    mean_weight: float | None = None

    def lift(self, facet: Facet, share: float) -> float | None:
        """Return how many times the share among all users a user's share is; None for an unknown category."""
        usual = self.shares.get(facet)
        return share / usual if usual else None

    def as_json(self) -> dict[str, Any]:
        """Return the population as JSON values."""
        return {"shares": [[*facet, share] for facet, share in self.shares.items()], "mean_weight": self.mean_weight}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Population":
        """Build a population from what `as_json` returned."""
        return cls({(name, value): share for name, value, share in values["shares"]}, values["mean_weight"])


def count_population(histories: Iterable[UserHistory], catalogue: Catalogue) -> Population:
    """Count the categories of all events; one pass over the users."""
    items: Counter[str] = Counter()
    weight, n_weights = 0.0, 0
    for history in histories:
        items.update(history.item_ids)
        known = [each for each in history.weights or () if each is not None]
        weight, n_weights = weight + sum(known), n_weights + len(known)
    counts: Counter[Facet] = Counter()
    n_events = 0
    for item_id, n in items.items():
        if (facts := catalogue.facts(item_id)) is not None:
            n_events += n
            counts.update(dict.fromkeys(facts.facets, n))
    shares = {facet: count / n_events for facet, count in counts.items()}
    return Population(shares, weight / n_weights if n_weights else None)
