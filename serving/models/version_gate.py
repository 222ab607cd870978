"""Verdicts of the promotion gate on published versions that lie on this machine."""

from pathlib import Path

from retort.shared.model.promotion_gate import Verdict, check_sealed
from retort.shared.model.registry import Published

_KEPT_VERDICTS = 1000


class Verdicts:
    """Comparisons of pairs of bundles, which never change, so that each is computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Path], Verdict] = {}

    def compare(self, champion: Path, challenger: Path) -> Verdict:
        """Return `check_sealed` of the two."""
        pair = (champion, challenger)
        if pair not in self._known:
            if len(self._known) >= _KEPT_VERDICTS:
                self._known.clear()
            self._known[pair] = check_sealed(champion, challenger)
        return self._known[pair]


def bundle_directory(published: Published, cache: Path) -> Path | None:
    """Return the bundle's directory on this machine: its own, or the copy in the cache; None if there is none."""
    local = published.uri.removeprefix("file://")
    path = cache / published.bundle_id if "://" in local else Path(local)
    return path if path.is_dir() else None
