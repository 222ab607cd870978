"""Queries of Prometheus that alerts and panels share."""


def rate(metric: str, by: str = "", where: str = "", *, selector: str = "") -> str:
    """Return the summed rate of a counter over five minutes.

    Args:
        by: Labels to keep.
        where: Matchers of labels.
        selector: Further matchers, such as those of the dashboard's variables.
    """
    matchers = ",".join(part for part in (selector, where) if part)
    summed = f"sum by ({by}) " if by else "sum"
    return f"{summed}(rate({metric}{{{matchers}}}[5m]))" if matchers else f"{summed}(rate({metric}[5m]))"


def quantile(q: float, histogram: str, by: str = "", *, selector: str = "") -> str:
    """Return a quantile of a histogram over five minutes."""
    labels = f"le, {by}" if by else "le"
    matchers = f"{{{selector}}}" if selector else ""
    return f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket{matchers}[5m])))"


def share(part: str, whole: str) -> str:
    """Return a quotient that is 0 where nothing happened."""
    return f"{part} / clamp_min({whole}, 1e-9)"
