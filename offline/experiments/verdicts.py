"""What the numbers allow one to say, in sentences: a gain, its size, and how much of it the controls show too."""

from typing import Any

from retort.offline.experiments.results import METRIC, Differences, Results, Row, against, share_of_gain


def verdicts(found: Results, differences: Differences) -> list[str]:
    """For each arm that is no control: one sentence on its gain, one on its controls, one on what that means."""
    sentences: list[str] = []
    for row in found.rows:
        if row.arm is None or row.arm.control or (gain := differences[row.name, row.student]) is None:
            continue
        sentences.append(_of_gain(row, gain))
        if controls := found.controls(row):
            sentences.append(_of_controls(row, controls, gain, differences))
        if gain["low"] > 0:
            sentences.append(_of_knowledge(row, gain, controls))
    return sentences


def _of_gain(row: Row, gain: dict[str, Any]) -> str:
    word = "gain" if gain["low"] > 0 else "loss" if gain["high"] < 0 else "no gain shown"
    return (
        f"**{row.name} · {row.student}: {word}.** {METRIC.upper()} {percent(gain)}, {p_value(gain)}, "
        f"over {gain['users']:,} users and {gain['seeds']} seed(s)."
    )


def _of_controls(row: Row, controls: list[Row], gain: dict[str, Any], differences: Differences) -> str:
    """Shares where there is a gain to share, else each control's own difference."""
    if gain["low"] > 0:
        shown = [f"{one.name} show {share_cell(share_of_gain(differences, one, row.name))}" for one in controls]
        return f"  - of which {', '.join(shown)}."
    own = [(one.name, differences[one.name, one.student]) for one in controls]
    return f"  - controls: {'; '.join(f'{name} {percent(one)}' for name, one in own if one is not None)}."


def _of_knowledge(row: Row, gain: dict[str, Any], controls: list[Row]) -> str:
    """A gain is knowledge only where the arm stands above every control of it, with its whole interval."""
    if not controls:
        return "  - no control arm has run: what the gain comes from is open."
    beyond = {control.name: against(control.ranks, row.ranks) for control in controls}
    alike = [name for name, compared in beyond.items() if compared.low <= 0]
    if alike:
        return f"  - **not knowledge**: not above {', '.join(alike)} beyond chance."
    name, least = min(beyond.items(), key=lambda one: one[1].difference)
    base = gain["baseline"]
    return (
        f"  - above every control that has run; nearest is {name}, by {least.difference / base:+.1%} "
        f"[{least.low / base:+.1%}, {least.high / base:+.1%}] of the baseline."
    )


def percent(row: dict[str, Any]) -> str:
    """`+11.0 % [+8.1 %, +13.9 %]` of the baseline; a dash where the baseline found nothing."""
    if not (base := row["baseline"]):
        return "–"
    return f"{row['difference'] / base:+.1%} [{row['low'] / base:+.1%}, {row['high'] / base:+.1%}]"


def p_value(row: dict[str, Any]) -> str:
    """`p = 0.03`, or `p ≤ 0.0001` where no resample lay on the other side of 0."""
    sign = "≤" if row["p"] <= row["least_p"] else "="
    return f"p {sign} {row['p']:.2g}"


def share_cell(share: float | None) -> str:
    """For a table's cell or a sentence: a control that is not above the baseline shows nothing of a gain."""
    if share is None:
        return ""
    return f"{share:.0%}" if share > 0 else "none"
