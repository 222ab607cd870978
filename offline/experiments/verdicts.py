"""Verdicts of an experiment in sentences: a gain, its size, and the share of it that the controls show too."""

from typing import Any

from retort.offline.experiments.results import METRIC, Differences, Results, Row, compare_ranks, share_of_gain


def verdicts(results: Results, differences: Differences) -> list[str]:
    """Write, for each arm that is no control, a sentence on its gain, one on its controls, and one on the cause."""
    sentences: list[str] = []
    for row in results.rows:
        if row.arm is None or row.arm.control or (gain := differences[row.name, row.student]) is None:
            continue
        sentences.append(_gain_sentence(row, gain))
        if controls := results.controls(row):
            sentences.append(_control_sentence(row, controls, gain, differences))
        if gain["low"] > 0:
            sentences.append(_cause_sentence(row, gain, controls))
        if row.arm.note:
            sentences.append(f"  - {row.arm.note}")
    return sentences


def _gain_sentence(row: Row, gain: dict[str, Any]) -> str:
    word = "gain" if gain["low"] > 0 else "loss" if gain["high"] < 0 else "no gain shown"
    return (
        f"**{row.name} · {row.student}: {word}.** {METRIC.upper()} {percent(gain)}, {p_value(gain)}, "
        f"over {gain['users']:,} users and {gain['seeds']} seed(s)."
    )


def _control_sentence(row: Row, controls: list[Row], gain: dict[str, Any], differences: Differences) -> str:
    """Shares of the gain where one is shown, else each control's own difference."""
    if gain["low"] > 0:
        shares = [f"{one.name} {share_cell(share_of_gain(differences, one, row.name))}" for one in controls]
        return f"  - shares of this gain that controls show too: {'; '.join(shares)}."
    own = [(one.name, differences[one.name, one.student]) for one in controls]
    return f"  - controls: {'; '.join(f'{name} {percent(one)}' for name, one in own if one is not None)}."


def _cause_sentence(row: Row, gain: dict[str, Any], controls: list[Row]) -> str:
    """A gain is knowledge only where the arm is better than each of its controls by a whole interval."""
    if not controls:
        return "  - no control arm has run, so the cause of the gain is open."
    compared = {control.name: compare_ranks(control.ranks, row.ranks) for control in controls}
    equal = [name for name, comparison in compared.items() if comparison.low <= 0]
    if equal:
        return f"  - **not knowledge**: not significantly better than {', '.join(equal)}."
    name, least = min(compared.items(), key=lambda entry: entry[1].difference)
    base = gain["baseline"]
    return (
        f"  - better than every control that has run; the nearest is {name}, by {least.difference / base:+.1%} "
        f"[{least.low / base:+.1%}, {least.high / base:+.1%}] of the baseline."
    )


def percent(row: dict[str, Any]) -> str:
    """`+11.0 % [+8.1 %, +13.9 %]` of the baseline; a dash where the baseline is 0."""
    if not (base := row["baseline"]):
        return "–"
    return f"{row['difference'] / base:+.1%} [{row['low'] / base:+.1%}, {row['high'] / base:+.1%}]"


def p_value(row: dict[str, Any]) -> str:
    """`p = 0.03`, or `p ≤ 0.0001` where no resample is on the other side of 0."""
    sign = "≤" if row["p"] <= row["least_p"] else "="
    return f"p {sign} {row['p']:.2g}"


def share_cell(share: float | None) -> str:
    """The share of a gain, for a table cell or a sentence; "none" for a control that is not above the baseline."""
    if share is None:
        return ""
    return f"{share:.0%}" if share > 0 else "none"
